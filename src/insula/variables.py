"""The kinds of environment variables: how each is read, and its description in docs/settings.md.

A settings module declares its variables as constants. Its dataclass reads them once, in `__main__`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from insula.errors import InsulaError

Environment = Mapping[str, str]


class SettingInvalid(InsulaError):
    """An environment variable is missing or malformed; the text names it."""


@dataclass(frozen=True)
class Variable:
    """One environment variable. `meaning` is its description in docs/settings.md."""

    name: str
    meaning: str

    @property
    def takes(self) -> str:
        """The allowed values, in words."""
        return "text"

    @property
    def without(self) -> str:
        """The value if the variable is not set, as Markdown; empty if there is none."""
        return ""


@dataclass(frozen=True)
class Text(Variable):
    """Any text. An empty text counts as not set."""

    default: str = ""
    required: bool = False

    def read(self, environment: Environment) -> str:
        """Return the variable's text. Raises SettingInvalid if it is required and not set."""
        value = environment.get(self.name, "") or self.default
        if self.required and not value:
            raise SettingInvalid(f"the environment variable {self.name} must be set")
        return value

    @property
    def without(self) -> str:
        """The word `required`, or the default as Markdown; empty if there is no default."""
        return "required" if self.required else f"`{self.default}`" if self.default else ""


@dataclass(frozen=True)
class Secret(Variable):
    """A secret: the variable's value, or the content of the file whose path is in `<name>_FILE`."""

    required: bool = False

    def read(self, environment: Environment) -> str:
        """Return the secret; empty if it is not set and not required.

        Raises SettingInvalid if both variables are set, if the file cannot be read, or if a required secret is missing.
        """
        path, value = environment.get(f"{self.name}_FILE"), environment.get(self.name, "")
        if path and value:
            raise SettingInvalid(f"set either {self.name} or {self.name}_FILE, not both")
        if path:
            try:
                value = Path(path).read_text(encoding="utf-8").strip()
            except (OSError, UnicodeDecodeError) as error:
                raise SettingInvalid(f"{self.name}_FILE: {path} cannot be read: {error}") from error
        if self.required and not value:
            raise SettingInvalid(f"the environment variable {self.name}, or {self.name}_FILE, must be set")
        return value

    @property
    def takes(self) -> str:
        """The two ways to set the secret, in words."""
        return f"text; or a file with it in `{self.name}_FILE`"

    @property
    def without(self) -> str:
        """`required`, or an empty text: a secret has no default."""
        return "required" if self.required else ""


@dataclass(frozen=True)
class Whole(Variable):
    """A whole number of at least 1."""

    default: int

    def read(self, environment: Environment) -> int:
        """Return the value of the variable. Raises SettingInvalid."""
        text = environment.get(self.name, str(self.default))
        if not text.isascii() or not text.isdigit() or int(text) == 0:
            raise SettingInvalid(f"{self.name} must be a whole number of at least 1 (got {text!r})")
        return int(text)

    @property
    def takes(self) -> str:
        """The allowed values, in words."""
        return "whole number of at least 1"

    @property
    def without(self) -> str:
        """The default, as Markdown."""
        return f"`{self.default}`"


@dataclass(frozen=True)
class Choice(Variable):
    """One of several words; the first is the default."""

    choices: tuple[str, ...]

    def read(self, environment: Environment) -> str:
        """Return the value of the variable. Raises SettingInvalid."""
        value = environment.get(self.name, self.choices[0])
        if value not in self.choices:
            raise SettingInvalid(f"{self.name} must be one of {', '.join(self.choices)} (got {value!r})")
        return value

    @property
    def takes(self) -> str:
        """The words that the variable accepts, as Markdown."""
        return ", ".join(f"`{choice}`" for choice in self.choices)

    @property
    def without(self) -> str:
        """The default: the first of the words, as Markdown."""
        return f"`{self.choices[0]}`"


@dataclass(frozen=True)
class Location(Variable):
    """A path. `instead` describes the path that is used if the variable is not set."""

    instead: str = ""

    def read(self, environment: Environment) -> Path | None:
        """Return the path, which may be relative; None if the variable is not set."""
        given = environment.get(self.name)
        return Path(given) if given else None

    @property
    def takes(self) -> str:
        """The word `path`: every path is accepted."""
        return "path"

    @property
    def without(self) -> str:
        """The description of the path that is used if the variable is not set; empty if there is none."""
        return self.instead
