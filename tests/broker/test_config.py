import sys
from pathlib import Path
from typing import Any

import pytest

from packhorse_broker.config import SETTINGS, Config, default_data_dir
from packhorse_broker.settings import ConfigError, Setting
from packhorse_broker.sources import MAX_FILE_BYTES, load
from packhorse_broker.store_url import mask_password

SECRET = "hush:h/u@sh"


def write(folder: Path, text: str) -> Path:
    path = folder / "broker.toml"
    path.write_text(text)
    return path


# --- Config by itself ------------------------------------------------------------------------


def test_the_defaults_are_a_valid_configuration() -> None:
    config = Config()
    assert config.listen == ("tcp://127.0.0.1:7225",)
    assert config.store is None
    assert config.heartbeat_ms == 10_000


def test_a_configuration_is_frozen() -> None:
    with pytest.raises(AttributeError):
        Config().max_batch = 5  # type: ignore[misc]


def test_each_process_has_a_name_of_its_own() -> None:
    named = Config(processes=2, broker_name="b", data_dir=Path("/d"))
    assert named.of_process(2, ["tcp://127.0.0.1:1"]) == Config(
        processes=2, broker_name="b-2", data_dir=Path("/d"), listen=("tcp://127.0.0.1:1",)
    )
    assert Config(processes=2).of_process(2, []).broker_name is None


def test_only_linux_runs_several_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert Config(processes=1).processes == 1
    with pytest.raises(ConfigError, match=r"processes = 2 .*Linux"):
        Config(processes=2)


@pytest.mark.parametrize("setting", SETTINGS.values(), ids=lambda setting: setting.name)
def test_every_setting_is_documented(setting: Setting) -> None:
    assert len(setting.about) > 20
    assert setting.allowed
    assert setting.flag.startswith("--")
    assert setting.variable.startswith("PACKHORSE_")


def test_every_field_is_a_setting() -> None:
    assert tuple(SETTINGS) == Config.__struct_fields__


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_batch", 0),
        ("max_batch", 100_001),
        ("max_batch", "10"),
        ("max_batch", True),
        ("max_batch", None),
        ("heartbeat_ms", 9),
        ("heartbeat_ms", 1.5),
        ("prefix", ""),
        ("prefix", "Upper"),
        ("prefix", "a" * 17),
        ("prefix", "ph\n"),
        ("broker_name", "two words"),
        ("log_level", "loud"),
        ("log_format", 1),
        ("listen", "tcp://127.0.0.1:7225"),
        ("listen", ("127.0.0.1:7225",)),
        ("listen", ("tcp://127.0.0.1:70000",)),
        ("listen", (7225,)),
        ("data_dir", "/var/lib/packhorse"),
        ("data_dir", Path("relative")),
        ("store", "localhost"),
        ("store", "http://localhost"),
        ("store", "redis://"),
        ("store", "redis://h/zero"),
        ("store", "redis://h:0/0"),
        ("store", "redis://h:99999/0"),
        ("store", "unix://"),
        ("store", "unix://relative/path"),
        ("store", "sentinel://h:26379"),
        ("store", "sentinel:///jobs"),
        ("store", "sentinel://h:0/jobs"),
        ("store", "sentinel://h,/jobs"),
        ("store", "sentinel://h:x/jobs"),
        ("store", "sentinels://h/jobs/zero"),
    ],
)
def test_a_bad_value_is_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        Config(**{name: value})
    assert caught.value.key == name
    assert SETTINGS[name].allowed in str(caught.value)
    assert caught.value.code == "config_invalid"
    assert not caught.value.retryable


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("listen", ()),
        ("listen", ("tcp://[::1]:0", "unix:///run/packhorse.sock")),
        ("store", "redis://localhost"),
        ("store", f"rediss://user:{'p' * 20}@host:6380/3?db=3"),
        ("store", "unix:///run/valkey.sock?db=2"),
        ("store", "sentinel://one,two:26380/jobs"),
        ("store", "sentinels://user:hush@[::1]:26379,h/jobs/3?sentinel_password=hush"),
        ("broker_name", "eu-1.example"),
        ("drain_ms", 0),
    ],
)
def test_a_good_value_is_taken(name: str, value: Any) -> None:
    assert getattr(Config(**{name: value}), name) == value


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"max_payload_bytes": 3 * 1024 * 1024}, "max_frame_bytes"),
        ({"max_result_bytes": 3 * 1024 * 1024}, "max_frame_bytes"),
        ({"max_outbox_bytes": 1024 * 1024}, "max_outbox_bytes"),
        ({"min_client_timeout_ms": 3_600_001}, "min_client_timeout_ms"),
        ({"client_timeout_ms": 3_600_001}, "client_timeout_ms"),
        ({"client_timeout_ms": 400, "heartbeat_ms": 100}, "client_timeout_ms"),
        ({"heartbeat_ms": 10_001}, "heartbeat_ms"),
    ],
)
def test_settings_that_disagree_are_refused(settings: dict[str, Any], key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Config(**settings)
    assert caught.value.key == key
    assert "(argument)" in str(caught.value)


def test_the_data_folder_follows_the_xdg_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", "/srv/data")
    assert default_data_dir() == Path("/srv/data/packhorse")
    monkeypatch.setenv("XDG_DATA_HOME", "relative")
    monkeypatch.setenv("HOME", "/home/mule")
    assert default_data_dir() == Path("/home/mule/.local/share/packhorse")


# --- Secrets ---------------------------------------------------------------------------------


def test_no_text_of_a_configuration_has_the_password() -> None:
    config = Config(store="redis://user:hush@host/0")
    assert config.store == "redis://user:hush@host/0"
    for text in (repr(config), str(config), str(config.shown()), str(list(config.__rich_repr__()))):
        assert "hush" not in text
        assert "redis://user:***@host/0" in text


@pytest.mark.parametrize(
    "url",
    [
        f"redis://:{SECRET}@host:99999/0",
        f"redis://user:{SECRET}@host/zero",
        f"http://user:{SECRET}@host",
        f"redis://host/zero?password={SECRET}",
        f"sentinel://user:{SECRET}@h:0/jobs",
        f"sentinel://h:0/jobs?sentinel_password={SECRET}",
    ],
)
def test_no_error_has_the_password(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(environ={"PACKHORSE_STORE": url})
    assert "hush" not in str(caught.value)
    assert "u@sh" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_a_url_without_password_is_shown_as_it_is() -> None:
    assert mask_password("redis://host:6379/0") == "redis://host:6379/0"
    assert mask_password("unix:///run/a:b.sock") == "unix:///run/a:b.sock"


# --- Sources ---------------------------------------------------------------------------------


def test_flags_beat_variables_beat_the_file_beats_defaults(tmp_path: Path) -> None:
    file = write(tmp_path, 'max_batch = 1\nheartbeat_ms = "2s"\ndrain_ms = 3000\n')
    loaded = load(
        file=file,
        environ={"PACKHORSE_HEARTBEAT_MS": "4s", "PACKHORSE_DRAIN_MS": "5000", "HOME": "/"},
        flags={"drain_ms": "6s", "sweep_ms": None},
    )
    config, origins = loaded.config, loaded.origins
    assert (config.max_batch, origins["max_batch"]) == (1, f"file {file}")
    assert (config.heartbeat_ms, origins["heartbeat_ms"]) == (
        4_000,
        "variable PACKHORSE_HEARTBEAT_MS",
    )
    assert (config.drain_ms, origins["drain_ms"]) == (6_000, "flag --drain-ms")
    assert (config.sweep_ms, origins["sweep_ms"]) == (1_000, "default")
    assert set(origins) == set(SETTINGS)


def test_a_variable_names_the_file(tmp_path: Path) -> None:
    file = write(tmp_path, "max_batch = 7")
    assert load(environ={"PACKHORSE_CONFIG": str(file)}).config.max_batch == 7
    other = tmp_path / "other.toml"
    other.write_text("max_batch = 8")
    chosen = load(file=other, environ={"PACKHORSE_CONFIG": str(file)})
    assert chosen.config.max_batch == 8


def test_every_kind_of_setting_is_read_from_a_variable() -> None:
    loaded = load(
        environ={
            "PACKHORSE_LISTEN": "tcp://[::1]:0, unix:///run/ph.sock",
            "PACKHORSE_STORE": "redis://host/1",
            "PACKHORSE_DATA_DIR": "data",
            "PACKHORSE_PREFIX": "other",
            "PACKHORSE_MAX_BATCH": "12",
            "PACKHORSE_MAX_PAYLOAD_BYTES": "1024",
            "PACKHORSE_DRAIN_MS": "1m",
            "PACKHORSE_LOG_LEVEL": "debug",
            "PACKHORSE_BROKER_NAME": "",
        }
    )
    assert loaded.config == Config(
        listen=("tcp://[::1]:0", "unix:///run/ph.sock"),
        store="redis://host/1",
        data_dir=Path.cwd() / "data",
        prefix="other",
        max_batch=12,
        max_payload_bytes=1_024,
        drain_ms=60_000,
        log_level="debug",
    )
    assert loaded.origins["broker_name"] == "default"


def test_the_file_may_give_one_address_or_several(tmp_path: Path) -> None:
    one = write(tmp_path, 'listen = "tcp://127.0.0.1:0"')
    assert load(file=one, environ={}).config.listen == ("tcp://127.0.0.1:0",)
    several = write(tmp_path, 'listen = ["tcp://127.0.0.1:0", "unix:///x"]')
    assert load(file=several, environ={}).config.listen == ("tcp://127.0.0.1:0", "unix:///x")


def test_a_home_folder_is_expanded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/mule")
    loaded = load(environ={}, flags={"data_dir": "~/jobs"})
    assert loaded.config.data_dir == Path("/home/mule/jobs")


def test_variables_that_others_set_are_left_alone() -> None:
    environ = {
        "PACKHORSE_URL": "tcp://elsewhere:7225",
        "PACKHORSE_CLIENT": "ada@desk",
        "PACKHORSE_BIN": "/opt/packhorse",
        "PACKHORSE_PORT": "tcp://10.0.0.1:7225",
        "PACKHORSE_PORT_7225_TCP_ADDR": "10.0.0.1",
        "PACKHORSE_SERVICE_HOST": "10.0.0.1",
        "OTHER": "x",
    }
    assert set(load(environ=environ).origins.values()) == {"default"}


def failure(folder: Path, source: str, name: str, value: str) -> ConfigError:
    """What loading says when this one setting comes from this source."""
    file = write(folder, f"{name} = {value}") if source == "file" else None
    environ = {f"PACKHORSE_{name.upper()}": value} if source == "variable" else {}
    flags = {name: value} if source == "flag" else {}
    with pytest.raises(ConfigError) as caught:
        load(file=file, environ=environ, flags=flags)
    return caught.value


@pytest.mark.parametrize(
    ("source", "suggestion"),
    [("file", "max_batch"), ("variable", "PACKHORSE_MAX_BATCH"), ("flag", "--max-batch")],
)
def test_an_unknown_setting_is_told_with_a_suggestion(
    tmp_path: Path, source: str, suggestion: str
) -> None:
    error = failure(tmp_path, source, "max_bach", "5")
    assert error.key == "max_bach"
    assert source in error.origin
    assert f"did you mean {suggestion}?" in str(error)


def test_an_unknown_setting_like_no_other_points_at_a_list_that_can_be_had(tmp_path: Path) -> None:
    """`packhorse config show` reads the same sources, so it would end with the same error."""
    for source in ("file", "variable", "flag"):
        assert "`packhorse serve --help`" in str(failure(tmp_path, source, "xyzzy", "5"))
    assert "unset it" in str(failure(tmp_path, "variable", "xyzzy", "5"))
    assert "did you mean" not in str(failure(tmp_path, "variable", "client_id", "5"))


@pytest.mark.parametrize("source", ["file", "variable", "flag"])
@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("max_batch", "0", "0"),
        ("max_batch", "5.5", "5.5"),
        ("drain_ms", "-1", "-1"),
        ("max_frame_bytes", "1", "1"),
    ],
)
def test_a_bad_value_is_told_with_its_origin(
    tmp_path: Path, source: str, name: str, value: str, shown: str
) -> None:
    error = failure(tmp_path, source, name, value)
    assert error.key == name
    assert error.origin.startswith(source)
    assert str(error) == f"{name} = {shown} ({error.origin}): must be {SETTINGS[name].allowed}"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_batch", '"10"'),
        ("max_batch", "true"),
        ("drain_ms", '"soon"'),
        ("drain_ms", "1.5"),
        ("drain_ms", "[1]"),
        ("listen", "7225"),
        ("listen", "[1, 2]"),
        ("data_dir", "5"),
        ("data_dir", '""'),
        ("data_dir", '"~nobody-of-this-name/x"'),
        ("store", "{ host = 'x' }"),
        ("log_level", '"loud"'),
    ],
)
def test_a_value_of_a_wrong_type_in_a_file_is_refused(
    tmp_path: Path, name: str, value: str
) -> None:
    error = failure(tmp_path, "file", name, value)
    assert error.key == name
    assert SETTINGS[name].allowed in str(error)


def test_a_disagreement_names_where_the_setting_came_from() -> None:
    error = failure(Path(), "variable", "heartbeat_ms", "1m")
    assert error.origin == "variable PACKHORSE_HEARTBEAT_MS"
    assert "a third of client_timeout_ms" in str(error)


def test_a_file_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    broken = write(tmp_path, "max_batch = ")
    with pytest.raises(ConfigError, match="is not valid TOML"):
        load(file=broken, environ={})
    with pytest.raises(ConfigError, match="can't be read: No such file"):
        load(file=tmp_path / "missing.toml", environ={})
    with pytest.raises(ConfigError, match="can't be read: Is a directory"):
        load(file=tmp_path, environ={})
    broken.write_bytes(b"\xff")
    with pytest.raises(ConfigError, match="is not UTF-8"):
        load(file=broken, environ={})
    broken.write_bytes(b"#" * (MAX_FILE_BYTES + 1))
    with pytest.raises(ConfigError, match="is larger than") as caught:
        load(file=broken, environ={})
    assert caught.value.origin == f"file {broken}"
