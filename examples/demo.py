"""`make demo`: keeps a real Better Auth server and an application's table equal, over Better Auth's own HTTP API.

A sign-up over HTTP appears in the application's table; a rename in the application's table appears in Better Auth.
"""

import asyncio

from examples.stage import FOLDER, HERE, execute, expect, find, prepare, start_idsync, stay
from idsync.testing.better_auth import BetterAuthServer

HINT = """
Better Auth answers at {url}; its database and the application's are in playground/. Sign somebody up:

  curl -s {url}/sign-up/email -H 'content-type: application/json' \\
    -d '{{"email": "grace@example.com", "password": "correct horse", "name": "Grace"}}'

Ctrl-C stops it.
"""


async def main() -> None:
    """Set the stage, sign somebody up over HTTP, rename her in the application, then leave the stage to the user."""
    prepare()
    async with BetterAuthServer(HERE / "better-auth", FOLDER / "auth.db") as auth:
        idsync = start_idsync()
        try:
            print("\nAda signs up at Better Auth, over HTTP", flush=True)
            ada = await auth.sign_up("ada@example.com", "correct horse battery", "Ada")
            await asyncio.to_thread(
                expect,
                "Ada is in the application's table",
                lambda: find("app.db", "SELECT full_name FROM users WHERE auth_id = ?", ada.user_id) == [("Ada",)],
            )

            print("\nThe application renames her in its own table", flush=True)
            execute("app.db", "UPDATE users SET full_name = 'Ada Lovelace' WHERE auth_id = ?", ada.user_id)

            def has_new_name() -> bool:
                return find("auth.db", 'SELECT name FROM "user" WHERE id = ?', ada.user_id) == [("Ada Lovelace",)]

            await asyncio.to_thread(expect, "Better Auth has the new name", has_new_name)
            names = {user["email"]: user["name"] for user in await auth.list_users()}
            print(f"Better Auth's own API says: {names['ada@example.com']}", flush=True)
            await asyncio.to_thread(stay, idsync, HINT.format(url=auth.url))
        finally:
            idsync.terminate()
            idsync.wait()


if __name__ == "__main__":
    asyncio.run(main())
