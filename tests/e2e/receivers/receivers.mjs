/*
 * Receivers of webhooks that are not ours: official libraries, and the receivers that seeds 000 to 003 describe.
 *
 *   node receivers.mjs        prints "listening on <port>", ends with its standard input
 *   POST /<receiver>?secret=…&url=…
 *
 * `secret` is what the receiver holds, `url` the address that it believes to have. The answer is 200 with what was
 * understood, or a refusal.
 */
import crypto from 'node:crypto';
import { createServer } from 'node:http';
import { Receiver as QStashReceiver } from '@upstash/qstash';
import { Webhook as StandardWebhook } from 'standardwebhooks';
import { Webhook as SvixWebhook } from 'svix';

const MAX_AGE_MS = 5 * 60_000;

const hmac = (secret, content) => crypto.createHmac('sha256', secret).update(content).digest('hex');
const isEqual = (one, other, encoding) =>
  crypto.timingSafeEqual(Buffer.from(one, encoding), Buffer.from(other, encoding));
const refuse = (status, error) => ({ status, answer: { error } });
const take = (id, type, subject) => ({ status: 200, answer: { id, type, subject } });

/** The official libraries: what they return is the event; what they refuse, they throw. */
const library = (Webhook) => ({ body, headers, secret }) => {
  const found = new Webhook(secret).verify(body, headers) ?? JSON.parse(body);
  const events = Array.isArray(found) ? found : [found];
  return take(events.map((one) => one.id).join(), events.at(-1).type, events.at(-1).data.name);
};

/** Seed 000, the worker that the queue calls: verified by the queue's own library, for exactly this address. */
const queueWorker = async ({ body, headers, secret, url }) => {
  const receiver = new QStashReceiver({ currentSigningKey: secret, nextSigningKey: secret });
  await receiver.verify({ signature: headers['upstash-signature'], body, url });
  const event = JSON.parse(body);
  return take(event.id, event.type, event.data?.name);
};

/** Seed 000, a route: signature over the body alone, time and origin in headers beside it. */
const route = (origin, apply) => ({ body, headers, secret }) => {
  const signature = headers['x-webhook-signature'];
  const timestamp = headers['x-webhook-timestamp'];
  if (!signature || !timestamp || headers['x-webhook-origin'] !== origin) return refuse(401, 'Unauthorized');
  if (!isEqual(signature, hmac(secret, body))) return refuse(401, 'Invalid signature');
  const age = Date.now() - Number(timestamp);
  if (Number.isFinite(age) && age > MAX_AGE_MS) return refuse(400, 'Webhook expired');
  const event = JSON.parse(body);
  if (event.origin !== origin || !Number.isInteger(event.timestamp)) return refuse(400, 'Not such an event');
  return apply(event);
};

/** Seed 000, Better Auth's side: what Payload's users have, under Payload's names. */
const applyToBetterAuth = (event) => {
  const { betterAuthUserId, fullName } = event.data;
  if (!['user.updated', 'user.deleted'].includes(event.type)) return refuse(400, 'Unknown event');
  return betterAuthUserId ? take(event.id, event.type, fullName) : refuse(400, 'Names nobody');
};

/** Seed 000, Payload's side: its mirror. */
const applyToPayload = (event) => {
  if (!['user.created', 'user.updated', 'user.deleted'].includes(event.type)) return refuse(400, 'Unknown event');
  return event.data.id && event.data.email ? take(event.id, event.type, event.data.name) : refuse(400, 'Names nobody');
};

/** Seed 001: the body's signature, then the name of the event, then the user. */
const guide = ({ body, headers, secret }) => {
  if (!isEqual(headers['x-betterauth-signature'], hmac(secret, body))) return refuse(401, 'Invalid signature');
  const type = headers['x-betterauth-event'];
  if (!['user.created', 'user.updated', 'session.created'].includes(type)) return refuse(400, 'Unknown event');
  const event = JSON.parse(body);
  return take(event.eventId, type, event.user.name);
};

/** Seed 002: both its receivers compute the same, one from bytes, one from text. */
const authon = (asText) => ({ raw, headers, secret }) => {
  const signed = `${headers['x-authon-timestamp']}.${asText ? new TextDecoder().decode(raw) : raw.toString()}`;
  const actual = headers['x-authon-signature'].replace('v1=', '');
  if (!isEqual(hmac(secret, signed), actual, 'hex')) return refuse(401, 'Invalid signature');
  const { event, data, id } = JSON.parse(raw.toString());
  return take(id, event, data.user.displayName);
};

/** Seed 003: time and signatures in one header, over `<time>.<body>`. */
const timestamped = ({ body, headers, secret }) => {
  const pairs = headers['x-webhook-signature'].split(',').map((pair) => pair.split('='));
  const timestamp = pairs.find(([name]) => name === 't')[1];
  const expected = hmac(secret, `${timestamp}.${body}`);
  const isSigned = pairs.some(([name, value]) => name === 'v1' && isEqual(value, expected, 'hex'));
  if (!isSigned) return refuse(401, 'Invalid signature');
  const event = JSON.parse(body);
  return event.version === '1.0' && event.data.user_id
    ? take(event.id, event.event, event.data.name)
    : refuse(400, 'Not such an event');
};

const RECEIVERS = {
  'standardwebhooks': library(StandardWebhook),
  'svix': library(SvixWebhook),
  'seed-000-better-auth': route('payload', applyToBetterAuth),
  'seed-000-payload': route('better-auth', applyToPayload),
  'seed-000-queue': queueWorker,
  'seed-001': guide,
  'seed-002-express': authon(false),
  'seed-002-next': authon(true),
  'seed-003': timestamped,
};

async function answer(request) {
  const { pathname, searchParams } = new URL(request.url, 'http://receiver');
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  const raw = Buffer.concat(chunks);
  const asked = {
    raw,
    body: raw.toString(),
    headers: request.headers,
    secret: searchParams.get('secret'),
    url: searchParams.get('url'),
  };
  try {
    return await RECEIVERS[pathname.slice(1)](asked);
  } catch (thrown) {
    return refuse(400, `${thrown.name}: ${thrown.message}`);
  }
}

const server = createServer(async (request, response) => {
  const { status, answer: said } = await answer(request);
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(said));
});
server.listen(0, '127.0.0.1', () => console.log(`listening on ${server.address().port}`));
process.stdin.resume().on('end', () => process.exit(0));
