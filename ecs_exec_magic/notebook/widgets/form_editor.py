"""The fields of the provisioning form, in sections, filled with what the account has.

Knows fields and an account's choices. Never knows plans, and calls nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import ipywidgets

from .form_fields import LOGS, Entries, memories, summaries
from .form_rows import Field, Section, control, show

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ...client import AccountChoices, Vpc

__all__ = ["FormEditor"]

_CPUS = tuple((f"{cpu / 1024:g} vCPU", cpu) for cpu in (256, 512, 1024, 2048, 4096, 8192, 16384))
_TYPES = ("t3.micro", "t3.small", "t3.medium", "t4g.small", "m7i.large")
_DEFAULT_VPC = "the account's default VPC"
# Where a choice is typed because it could not be listed: what is expected, by field.
_TYPED = {
    "vpc": "vpc-…; empty: the default VPC",
    "subnets": "subnet-… subnet-…; empty: up to two of the VPC's",
}
# What AccountChoices.denied calls it, by field.
_LISTED = {
    "vpc": ("vpcs",),
    "subnets": ("vpcs", "subnets"),
    "log_group": ("log_groups",),
    "bucket": ("buckets",),
    "kms_key": ("keys",),
    "execution_role": ("roles",),
    "task_role": ("roles",),
}


def _memory(mib: int) -> str:
    return f"{mib / 1024:g} GiB"


class FormEditor(ipywidgets.VBox):
    """All fields; what stands in them is :meth:`entries`.

    Args:
        lock: held while something changes; a change comes in the page's thread, what the account
            has in another.
        changed: called at every change, in whichever thread that comes in.
    """

    def __init__(self, lock: Any, changed: Callable[[], object]) -> None:
        self._lock = lock
        self._tell = changed
        self._quiet = False
        self._choices: AccountChoices | None = None
        self._fields: dict[str, Field] = {}
        defaults = Entries()
        self._build(defaults)
        field = self._fields
        self.sections = {
            "what": Section(
                "What runs",
                [
                    field[name]
                    for name in (
                        *("image", "container", "command", "port", "cpu", "memory"),
                        *("launch_type", "instance_type", "service", "count"),
                    )
                ],
            ),
            "where": Section(
                "Where",
                [field[name] for name in (*("region", "vpc", "subnets", "public_address"),)],
            ),
            "logging": Section(
                "Logging and encryption",
                [
                    field[name]
                    for name in ("logs", "log_group", "bucket", "prefix", "kms_key", "encrypt_logs")
                ],
            ),
            "roles": Section("Roles", [field["execution_role"], field["task_role"]]),
            "tags": Section("Tags", [field["tags"]]),
        }
        super().__init__(
            (field["name"], *self.sections.values()),
            layout=ipywidgets.Layout(overflow="visible"),
        )
        self.show({})

    def _build(self, defaults: Entries) -> None:
        def add(name: str, kind: str, label: str, **traits: Any) -> None:
            traits.setdefault("value", getattr(defaults, name))
            self._fields[name] = Field(name, control(kind, label, **traits), self._changed)

        add("name", "Text", "Name", placeholder="of cluster, service and family")
        add("image", "Text", "Image")
        add("container", "Text", "Container")
        add("command", "Text", "Command", placeholder="the image's own")
        add("port", "Text", "Port", placeholder="none")
        add("cpu", "Dropdown", "CPU", options=_CPUS)
        add("memory", "Dropdown", "Memory", options=_sizes(defaults.cpu))
        on = (("Fargate", "FARGATE"), ("EC2 instances", "EC2"))
        add("launch_type", "Dropdown", "Tasks run on", options=on)
        add("instance_type", "Combobox", "Instance", placeholder="the cluster has its own")
        self._fields["instance_type"].suggest(_TYPES)
        runs = (("kept running by a service", True), ("run once", False))
        add("service", "Dropdown", "Tasks are", options=runs)
        add("count", "Text", "Count")
        add("region", "Dropdown", "Region", options=(("as AWS is configured", ""),))
        add("vpc", "Dropdown", "VPC", options=((_DEFAULT_VPC, ""),))
        add("subnets", "Text", "Subnets", value="", placeholder=_TYPED["subnets"])
        public = (("where the subnets need it", "auto"), ("yes", "yes"), ("no", "no"))
        add("public_address", "Dropdown", "Public address", options=public)
        add("logs", "Dropdown", "Sessions are", options=LOGS)
        add("log_group", "Combobox", "Log group")
        add("bucket", "Combobox", "Bucket", placeholder="there already, or a new name")
        add("prefix", "Text", "Prefix", placeholder="none")
        add("kms_key", "Combobox", "KMS key", placeholder="none; new makes one")
        self._fields["kms_key"].suggest(["new"])
        add("encrypt_logs", "Checkbox", "Encrypt the logs with the key", indent=True)
        add("execution_role", "Combobox", "Execution role", placeholder="a new one")
        add("task_role", "Combobox", "Task role", placeholder="a new one")
        add("tags", "Textarea", "Tags", placeholder="KEY=VALUE, one a line")

    def __getitem__(self, name: str) -> Field:
        return self._fields[name]

    def entries(self) -> Entries:
        """What stands in the fields."""
        return Entries(**{name: field.value for name, field in self._fields.items()})

    def label(self, name: str) -> str:
        """What a field is called."""
        return str(self._fields[name].control.description)

    def lines(self, problems: Mapping[str, str]) -> list[str]:
        """The fields as text."""
        entries = self.entries()
        name = entries.name.strip() or "(none yet)"
        words = summaries(entries, self._choices.region if self._choices else "")
        rows = [("Name", name)]
        rows += [(section.title, words[key]) for key, section in self.sections.items()]
        lines = [f"  {title:<24}{text}" for title, text in rows]
        wrong = {key: words for key, words in problems.items() if key != "name" or entries.name}
        return lines + [f"  {self.label(key)}: {words}" for key, words in wrong.items()]

    # -- what is shown ---------------------------------------------------------------------------

    def show(self, problems: Mapping[str, str]) -> None:
        """Show what is wrong beside the very fields, and which fields mean anything."""
        entries = self.entries()
        for name, field in self._fields.items():
            show(field, entries.applies(name))
            # An empty name is no mistake, but the beginning.
            blank = name == "name" and not entries.name.strip()
            field.say("" if blank else problems.get(name, ""))
        self._fields["log_group"].control.placeholder = f"/aws/ecs/{entries.name.strip() or 'NAME'}"
        words = summaries(entries, self._choices.region if self._choices else "")
        for key, section in self.sections.items():
            wrong = [self.label(each.name) for each in section.fields if each.name in problems]
            section.say(f"see {', '.join(wrong)}" if wrong else words[key])

    def enable(self, is_enabled: bool) -> None:
        """Let the fields be changed, or not."""
        for field in self._fields.values():
            if field.control.disabled == is_enabled:
                field.control.disabled = not is_enabled

    # -- what the account has --------------------------------------------------------------------

    def note_reading(self) -> None:
        """Say that the account is being asked."""
        for name in ("vpc", "subnets"):
            self._note(name, "reading what the account has…")

    def offer_regions(self, names: Sequence[str]) -> None:
        """Let the user choose from all regions."""
        with_own = [("as AWS is configured", ""), *((name, name) for name in names)]
        self._filling(lambda: self._fields["region"].offer(with_own))

    def fill(self, choices: AccountChoices) -> None:
        """Offer what the account has; where that may not be seen, let the user type."""
        self._choices = choices
        self._filling(self._fill)

    def unreadable(self, why: str) -> None:
        """Let the user type everything, because the account could not be asked."""

        def free() -> None:
            self._choices = None
            for name in _LISTED:
                self._note(name, "")
                if name in _TYPED:
                    self._fields[name].free(_TYPED[name])
            self._note("vpc", f"what the account has could not be read: {why}")

        self._filling(free)

    def _fill(self) -> None:
        choices = self._choices
        assert choices is not None
        denied = {
            name: next((choices.denied[each] for each in listed if each in choices.denied), "")
            for name, listed in _LISTED.items()
        }
        for name, why in denied.items():
            self._note(name, why)
        region = self._fields["region"]
        self._note("region", "" if region.value else choices.region)
        if denied["vpc"] or not choices.vpcs:
            self._fields["vpc"].free(_TYPED["vpc"])
            if not denied["vpc"]:
                self._note("vpc", f"{choices.region} has no VPC")
        else:
            own = next((vpc for vpc in choices.vpcs if vpc.default), None)
            first = f"the default VPC, {own.vpc_id}" if own else "choose one; no default VPC"
            rest = [(_vpc_label(vpc), vpc.vpc_id) for vpc in choices.vpcs if vpc is not own]
            self._fields["vpc"].offer([(first, ""), *rest])
        self._fill_subnets()
        for name in ("log_group", "bucket", "kms_key", "execution_role", "task_role"):
            found = getattr(choices, {"kms_key": "keys"}.get(name, _LISTED[name][0]))
            self._fields[name].suggest(["new", *found] if name == "kms_key" else found)

    def _fill_subnets(self) -> None:
        vpc = self._vpc()
        field = self._fields["subnets"]
        if vpc is None or not vpc.subnets:
            field.free(_TYPED["subnets"])
            return
        field.offer(
            [(_subnet_label(subnet), subnet.subnet_id) for subnet in vpc.subnets], several=True
        )
        self._note("subnets", "none chosen: up to two that lead to AWS")

    def _vpc(self) -> Vpc | None:
        if self._choices is None:
            return None
        chosen = self._fields["vpc"].value
        return next(
            (
                vpc
                for vpc in self._choices.vpcs
                if (vpc.vpc_id == chosen if chosen else vpc.default)
            ),
            None,
        )

    def _note(self, name: str, words: str) -> None:
        field = self._fields[name]
        field.note = words
        field.say("")

    # -- changes ---------------------------------------------------------------------------------

    def _filling(self, fill: Callable[[], object]) -> None:
        """Change what can be chosen; what stands in the fields then is told of once."""
        with self._lock:
            before = self.entries()
            self._quietly(fill)
            if self.entries() != before:
                self._tell()

    def _changed(self) -> None:
        with self._lock:
            if self._quiet:
                return
            self._quietly(self._follow)
            self._tell()

    def _follow(self) -> None:
        """Offer what goes with what was chosen."""
        self._fields["memory"].offer(_sizes(self._fields["cpu"].value))
        if self._choices is not None:
            self._fill_subnets()

    def _quietly(self, change: Callable[[], object]) -> None:
        self._quiet = True
        try:
            change()
        finally:
            self._quiet = False


def _sizes(cpu: int) -> list[tuple[str, int]]:
    return [(_memory(mib), mib) for mib in memories(cpu)]


def _vpc_label(vpc: Vpc) -> str:
    return ", ".join(filter(None, (vpc.name, vpc.vpc_id, vpc.cidr)))


def _subnet_label(subnet: Any) -> str:
    access = "public" if subnet.public else "private"
    return ", ".join(filter(None, (subnet.zone, subnet.name, access, subnet.subnet_id)))
