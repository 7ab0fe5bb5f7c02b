"""Keeps what is generated within bounds: one harmless program, no long waits."""

import schemathesis


def is_command(words):
    return (
        isinstance(words, list)
        and bool(words)
        and all(isinstance(word, str) and "\0" not in word for word in words)
        and words[0] != ""
    )


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
        if case.body.get("signal") in ("HUP", "INT", "QUIT", "USR1", "USR2", "TERM", "KILL", "STOP", "ALRM"):
            case.body["signal"] = "CONT"
    if operation == "GET /api/v1/sessions/{id}/screen" and case.query:
        if "wait" in case.query:
            case.query["timeout_ms"] = 0
