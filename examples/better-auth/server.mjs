// A real Better Auth server on an SQLite file or on PostgreSQL, as small as one can be. README.md explains its settings.
import { createHash, randomBytes } from "node:crypto";
import { createServer } from "node:http";
import { apiKey } from "@better-auth/api-key";
import { betterAuth } from "better-auth";
import { getMigrations } from "better-auth/db/migration";
import { toNodeHandler } from "better-auth/node";
import { admin, bearer, organization } from "better-auth/plugins";
import { CompiledQuery, SqliteDialect } from "kysely";
import Database from "libsql";
import pg from "pg";

const env = { PORT: "0", TRANSACTION: "off", BETTER_AUTH_SECRET: randomBytes(32).toString("hex"), ...process.env };

const missing = ["DATABASE", "ADMIN_EMAIL", "ADMIN_PASSWORD"].filter((name) => !env[name]);
if (missing.length || !["off", "immediate", "deferred"].includes(env.TRANSACTION)) {
  console.error(`Not set: ${missing.join(", ") || "none"}. TRANSACTION is off, immediate or deferred. See README.md.`);
  process.exit(2);
}

// Kysely always says "begin", which is deferred.
class Dialect extends SqliteDialect {
  createDriver() {
    const driver = super.createDriver();
    driver.beginTransaction = (connection) => connection.executeQuery(CompiledQuery.raw(`begin ${env.TRANSACTION}`));
    return driver;
  }
}

// What an ordinary application sets on its own file. libsql itself waits 0 ms for another writer.
function openSqlite() {
  const database = new Database(env.DATABASE);
  database.pragma("busy_timeout = 5000");
  database.pragma("journal_mode = WAL");
  return { dialect: new Dialect({ database }), type: "sqlite", transaction: env.TRANSACTION !== "off" };
}

// A connection that ends while nobody uses it is reported here, and would else end the server.
function openPostgres() {
  return new pg.Pool({ connectionString: env.DATABASE }).on("error", (error) => console.error(error.message));
}

const database = /^postgres(ql)?:/.test(env.DATABASE) ? openPostgres() : openSqlite();

// For load tests: the real hash takes 0.1 s of CPU, on purpose.
const digest = (password) => createHash("sha256").update(password).digest("hex");
const fastHash = {
  hash: async (password) => digest(password),
  verify: async ({ hash, password }) => hash === digest(password),
};

const optionsAt = (baseURL) => ({
  baseURL,
  secret: env.BETTER_AUTH_SECRET,
  database,
  emailAndPassword: { enabled: true, password: env.FAST_HASH === "1" ? fastHash : undefined },
  user: { changeEmail: { enabled: true, updateEmailWithoutVerification: true } },
  rateLimit: { enabled: false },
  telemetry: { enabled: false },
  plugins: [admin(), bearer(), organization(), apiKey()],
});

async function ensureAdmin(auth) {
  const { internalAdapter } = await auth.$context;
  const found = await internalAdapter.findUserByEmail(env.ADMIN_EMAIL);
  if (!found) {
    const body = { email: env.ADMIN_EMAIL, password: env.ADMIN_PASSWORD, name: "Admin", role: "admin" };
    await auth.api.createUser({ body });
  } else if (found.user.role !== "admin") {
    await internalAdapter.updateUser(found.user.id, { role: "admin" });
  }
}

// The port comes first, because Better Auth wants to know its own URL.
const server = createServer();
server.listen(Number(env.PORT), "127.0.0.1", async () => {
  const { port } = server.address();
  const options = optionsAt(`http://127.0.0.1:${port}`);
  await (await getMigrations(options)).runMigrations();
  const auth = betterAuth(options);
  await ensureAdmin(auth);
  server.on("request", toNodeHandler(auth));
  console.log(JSON.stringify({ ready: true, port }));
});

// Calls under way are answered first, for two seconds at most.
function stop() {
  server.close(() => process.exit(0));
  setTimeout(() => process.exit(0), 2000);
}

process.on("SIGTERM", stop);
if (env.EXIT_WITH_STDIN === "1") process.stdin.on("end", stop).resume();
