"""What every command is called with: a module for each topic, and the readers of the options' values."""

from __future__ import annotations

from deploy.usage.described import COMMON as COMMON
from deploy.usage.described import JSON as JSON
from deploy.usage.described import Described as Described
from deploy.usage.described import Group as Group
from deploy.usage.table import COMMANDS as COMMANDS
from deploy.usage.table import each_command as each_command
