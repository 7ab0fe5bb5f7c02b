"""Keeps what is generated within bounds: one harmless program, no long waits."""

import signal

import schemathesis


def is_command(words):
    return (
        isinstance(words, list)
        and bool(words)
        and all(isinstance(word, str) and "\0" not in word for word in words)
        and words[0] != ""
    )


def is_signal(word):
    """Whether the server knows such a signal, by number or by name."""
    if isinstance(word, str):
        name = word.upper().removeprefix("SIG")
        if not name.isdigit():
            return name.startswith("RT") or "SIG" + name in signal.Signals.__members__
        word = int(name)
    return isinstance(word, int) and not isinstance(word, bool) and 1 <= word <= 64


@schemathesis.hook
def before_call(context, case, kwargs):
    operation = case.operation.label
    if operation == "POST /api/v1/sessions" and isinstance(case.body, dict):
        # What is wrong stays wrong; what would run is harmless and ends soon.
        if is_command(case.body.get("command")) or "command" not in case.body:
            case.body["command"] = ["/bin/sleep", "120"]
        if isinstance(case.body.get("profile"), str):
            case.body["profile"] = "shell"
        if isinstance(case.body.get("cwd"), str) and "\0" not in case.body["cwd"]:
            case.body["cwd"] = "/"
    if operation == "POST /api/v1/sessions/{id}/signal" and isinstance(case.body, dict):
        # What can be sent is sent, and ends nothing that others look at.
        if is_signal(case.body.get("signal")):
            case.body["signal"] = "CONT"
    if operation == "GET /api/v1/sessions/{id}/screen" and case.query:
        if "wait" in case.query:
            case.query["timeout_ms"] = 0
