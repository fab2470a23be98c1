"""Clients of a Better Auth server's HTTP API: they do whatever its plugins admin and organization offer."""

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import msgspec

from idsync.testing.better_auth import BetterAuthServer, CallRefused, SignedIn

PASSWORD: Final = "correct horse battery"


class _Organization(msgspec.Struct):
    id: str
    owner: SignedIn
    members: list[tuple[SignedIn, str]]
    """Who can leave or be expelled, with the id of the membership."""
    inside: set[str]
    """The ids of all members."""


class Client:
    """A client of Better Auth's HTTP API. It knows only the people and organizations that it made itself."""

    def __init__(self, server: BetterAuthServer, luck: random.Random, name: str) -> None:
        self._server = server
        self._luck = luck
        self._name = name
        self._count = 0
        self._people: list[SignedIn] = []
        self._emails: dict[str, str] = {}
        self._banned: list[str] = []
        self._organizations: list[_Organization] = []
        self._steps: dict[Callable[[], Awaitable[object]], int] = {
            self._sign_up: 12, self._rename: 18, self._change_email: 5, self._come_back: 6, self._administer: 8,
            self._ban: 5, self._unban: 5, self._ban_for_a_moment: 1, self._remove: 3, self._found: 6, self._restyle: 3,
            self._join: 14, self._promote: 4, self._leave: 8, self._expel: 2, self._dissolve: 2,
        }  # fmt: skip

    async def step(self) -> None:
        """Make one call, or the few that belong together. What is refused the server's own count of answers shows."""
        [step] = self._luck.choices([*self._steps], [*self._steps.values()])
        with contextlib.suppress(CallRefused):
            await (step() if self._people else self._sign_up())

    def _new(self, what: str) -> str:
        self._count += 1
        return f"{what}-{self._name}-{self._count}"

    def _somebody(self) -> SignedIn:
        return self._luck.choice(self._people)

    async def _sign_up(self) -> None:
        email = f"{self._new('p')}@example.com"
        person = await self._server.sign_up(email, PASSWORD, self._new("Name"))
        self._emails[person.user_id] = email
        self._people.append(person)

    async def _rename(self) -> None:
        await self._server.update_user(self._somebody().token, {"name": self._new("Name"), "image": self._new("pic")})

    async def _change_email(self) -> None:
        person, email = self._somebody(), f"{self._new('q')}@example.com"
        # Only an address that was never verified may be changed without a mail.
        await self._server.admin_update_user(person.user_id, {"emailVerified": False})
        await self._server.change_email(person.token, email)
        self._emails[person.user_id] = email

    async def _come_back(self) -> None:
        person = self._take(self._somebody())
        await self._server.sign_out(person.token)
        await self._sign_in(person.user_id)

    async def _sign_in(self, user_id: str) -> None:
        self._people.append(await self._server.sign_in(self._emails[user_id], PASSWORD))

    async def _administer(self) -> None:
        roles = self._luck.choice([["user"], ["user", "editor"], ["editor"]])
        fields = {"name": self._new("Name"), "role": roles, "emailVerified": self._luck.random() < 0.5}
        await self._server.admin_update_user(self._somebody().user_id, fields)

    async def _ban(self) -> None:
        person = self._take(self._somebody())
        await self._server.ban_user(person.user_id, self._new("reason"), self._luck.choice([None, 3600]))
        self._banned.append(person.user_id)

    async def _unban(self) -> None:
        if self._banned:
            user_id = self._banned.pop()
            await self._server.unban_user(user_id)
            await self._sign_in(user_id)

    async def _ban_for_a_moment(self) -> None:
        """Nothing at all happens when a ban is over: the next sign-in lifts it."""
        person = self._take(self._somebody())
        await self._server.ban_user(person.user_id, self._new("reason"), 1)
        await asyncio.sleep(1.1)
        await self._sign_in(person.user_id)

    async def _remove(self) -> None:
        await self._server.remove_user(self._take(self._somebody()).user_id)

    async def _found(self) -> None:
        owner, slug = self._somebody(), self._new("org")
        made = await self._server.create_organization(owner.token, slug.title(), slug)
        self._organizations.append(_Organization(made, owner, [], {owner.user_id}))

    async def _restyle(self) -> None:
        for one in self._some_organization():
            data = {"name": self._new("Org"), "logo": self._new("logo")}
            await self._server.post("/organization/update", {"organizationId": one.id, "data": data}, one.owner.token)

    async def _join(self) -> None:
        for one in self._some_organization():
            outside = [person for person in self._people if person.user_id not in one.inside]
            if outside:
                person = self._luck.choice(outside)
                body = {"organizationId": one.id, "email": self._emails[person.user_id], "role": "member"}
                invited = await self._server.post("/organization/invite-member", body, one.owner.token)
                accepted = await self._server.post(
                    "/organization/accept-invitation", {"invitationId": invited["id"]}, person.token
                )
                one.members.append((person, accepted["member"]["id"]))
                one.inside.add(person.user_id)

    async def _promote(self) -> None:
        for one in self._some_organization():
            for _, member in one.members[:1]:
                role = self._luck.choice(["member", "admin"])
                body = {"organizationId": one.id, "memberId": member, "role": role}
                await self._server.post("/organization/update-member-role", body, one.owner.token)

    async def _leave(self) -> None:
        for one in self._some_organization():
            if one.members:
                person, _ = one.members.pop()
                one.inside.remove(person.user_id)
                await self._server.post("/organization/leave", {"organizationId": one.id}, person.token)

    async def _expel(self) -> None:
        for one in self._some_organization():
            if one.members:
                person, member = one.members.pop()
                one.inside.remove(person.user_id)
                body = {"organizationId": one.id, "memberIdOrEmail": member}
                await self._server.post("/organization/remove-member", body, one.owner.token)

    async def _dissolve(self) -> None:
        for one in self._some_organization():
            self._organizations.remove(one)
            await self._server.post("/organization/delete", {"organizationId": one.id}, one.owner.token)

    def _some_organization(self) -> Sequence[_Organization]:
        return self._luck.sample(self._organizations, min(1, len(self._organizations)))

    def _take(self, person: SignedIn) -> SignedIn:
        """Forget a person whose session is about to end, and what only that session could do."""
        self._people.remove(person)
        self._organizations = [one for one in self._organizations if one.owner is not person]
        for one in self._organizations:
            one.members = [(member, key) for member, key in one.members if member is not person]
        return person
