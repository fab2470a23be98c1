"""One load: the file, the environment, flags; then types, then rules; every problem shown at once."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import cast

import msgspec

from idsync.config.draft import Draft
from idsync.config.rules import check, check_endpoint
from idsync.config.settings import EndpointSettings, Settings
from idsync.config.shape import build_table
from idsync.config.sources import find_file, overlay_environment, overlay_flags, overlay_toml, read_file
from idsync.config.values import reveal
from idsync.config.variables import overlay_variables
from idsync.errors import ConfigError


def load_settings(
    config: Path | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    flags: Mapping[str, object] | None = None,
) -> Settings:
    """Find and read the configuration.

    Args:
        config: the file of `--config`; None: that of `IDSYNC_CONFIG`, else `idsync.toml` in the working directory,
            else none at all, which is no error here.
        environ: the environment; None: that of this process.
        flags: values by dotted key, as `{"server.listen": "127.0.0.1:0"}`; a value of None is a flag not given.

    Raises:
        ConfigError: the configuration cannot be used; `problems` has every reason.
    """
    environ = os.environ if environ is None else environ
    file = find_file(config, environ)
    text = "" if file is None else read_file(file)
    settings = parse_settings(text, environ=environ, flags=flags, file_name=str(file or "idsync.toml"))
    return msgspec.structs.replace(settings, file=file)


def parse_settings(
    text: str,
    *,
    environ: Mapping[str, str] | None = None,
    flags: Mapping[str, object] | None = None,
    file_name: str = "idsync.toml",
) -> Settings:
    """Read a configuration from its text. Unlike `load_settings`, no `environ` means an empty one.

    Raises:
        ConfigError: the configuration cannot be used; `problems` has every reason.
    """
    draft = Draft(file=file_name, environ=environ or {})
    overlay_toml(draft, text)
    overlay_variables(draft)
    overlay_environment(draft)
    overlay_flags(draft, flags or {})
    settings = cast("Settings", build_table(draft, draft.tree, Settings, ()))  # no section is required
    check(draft, settings)
    if draft.problems:
        raise ConfigError(*draft.problems.values())
    return msgspec.structs.replace(settings, notes=tuple(draft.notes))


class InvalidEndpoint(msgspec.Struct, frozen=True):
    """A definition that cannot be used."""

    problems: tuple[str, ...]
    """Every reason, each naming its field; never with a secret's text."""


def parse_endpoint(body: Mapping[str, object], settings: Settings | None = None) -> EndpointSettings | InvalidEndpoint:
    """Read the definition of an endpoint from a JSON body, as if it stood in the file.

    A value `"env:…"` or `"file:…"` is refused: only whoever writes the file may have what is there.

    Args:
        body: the definition.
        settings: those of the service that it is for; the defaults if None.
    """
    draft = Draft(file="body", environ={}, may_refer=False)
    draft.tree = dict(body)
    endpoint = build_table(draft, draft.tree, EndpointSettings, ())
    if isinstance(endpoint, EndpointSettings):
        check_endpoint(draft, endpoint, (), settings or Settings())
    if draft.problems or not isinstance(endpoint, EndpointSettings):
        return InvalidEndpoint(tuple(draft.problems.values()))
    return endpoint


def endpoint_body(settings: EndpointSettings) -> dict[str, object]:
    """Write a definition as `parse_endpoint` reads it, its secrets and the values of its headers included."""
    body = msgspec.to_builtins(settings, enc_hook=reveal)
    return cast("dict[str, object]", body)
