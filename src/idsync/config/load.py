"""One load: the file, the environment, flags; then types, then rules; every problem shown at once."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import cast

import msgspec

from idsync.config.draft import Draft
from idsync.config.rules import check
from idsync.config.settings import Settings
from idsync.config.shape import build_table
from idsync.config.sources import find_file, overlay_environment, overlay_flags, overlay_toml, read_file
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
