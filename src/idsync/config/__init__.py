"""Settings: one TOML file < environment < flags, checked as a whole and frozen (DESIGN §9, decision 0002)."""

from idsync.config.describe import SettingDoc, describe_settings
from idsync.config.limits import (
    CaptureSettings,
    DeliverySettings,
    FlappingSettings,
    IngestSettings,
    LimitSettings,
    LogSettings,
    RateSettings,
    RetentionSettings,
    RetrySettings,
)
from idsync.config.load import load_settings, parse_settings
from idsync.config.names import CONNECTORS_KNOWN, USER_FIELDS, Dialect
from idsync.config.settings import (
    EndpointSettings,
    EngineSettings,
    FieldSettings,
    KindSettings,
    LifecycleSettings,
    NatsSettings,
    PeerSettings,
    ServerSettings,
    Settings,
    StoreSettings,
    SyncSettings,
)
from idsync.config.values import SecretText, Url

__all__ = [
    "CONNECTORS_KNOWN",
    "USER_FIELDS",
    "CaptureSettings",
    "DeliverySettings",
    "Dialect",
    "EndpointSettings",
    "EngineSettings",
    "FieldSettings",
    "FlappingSettings",
    "IngestSettings",
    "KindSettings",
    "LifecycleSettings",
    "LimitSettings",
    "LogSettings",
    "NatsSettings",
    "PeerSettings",
    "RateSettings",
    "RetentionSettings",
    "RetrySettings",
    "SecretText",
    "ServerSettings",
    "SettingDoc",
    "Settings",
    "StoreSettings",
    "SyncSettings",
    "Url",
    "describe_settings",
    "load_settings",
    "parse_settings",
]
