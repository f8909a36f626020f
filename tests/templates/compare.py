"""Chat templates as mote renders them, against Python's jinja2 with the settings of transformers.

    python3 tests/templates/compare.py MOTE FOLDER

MOTE is the binary, FOLDER holds templates (*.jinja), such as models/templates of llama.cpp's source
package. Needs jinja2. Every template gets several conversations; the texts must be equal, and a template
that raises an error must do so in both. Where Python itself fails (a TypeError: None is not iterable, a
generator is not JSON), mote may go on.
"""
import datetime
import json
import pathlib
import subprocess
import sys
import tempfile

import jinja2
import jinja2.ext
import jinja2.sandbox

DATE = "2026-11-06"

# Where the texts differ, and why: minijinja's `+` knows nothing of texts that are marked as safe, and
# Python's escapes what is added to them, as if for HTML.
KNOWN = {"meetkai-functionary-medium-v3.1.jinja"}


class Generation(jinja2.ext.Extension):
    """`generation` blocks show what is in them."""

    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return jinja2.nodes.Scope(body).set_lineno(line)


def raise_exception(message):
    raise jinja2.exceptions.TemplateError(message)


def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(
        x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )


def strftime_now(form):
    return datetime.datetime.fromisoformat(DATE).strftime(form)


def environment():
    made = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols]
    )
    made.filters["tojson"] = tojson
    made.globals["raise_exception"] = raise_exception
    made.globals["strftime_now"] = strftime_now
    return made


def user(text):
    return {"role": "user", "content": text}


def assistant(text, **more):
    return {"role": "assistant", "content": text, **more}


def system(text):
    return {"role": "system", "content": text}


WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather at a place: \"now\" & <soon>, °C",
        "parameters": {
            "type": "object",
            "properties": {
                "place": {"type": "string", "description": "A town's name"},
                "days": {"type": "integer", "minimum": 1, "default": 1, "enum": [1, 2, 3]},
                "share": {"type": "number", "multipleOf": 0.5, "maximum": 1e6},
                "exact": {"type": ["boolean", "null"], "default": None},
            },
            "required": ["place"],
        },
    },
}

CALL = {
    "id": "abcdefghi",
    "type": "function",
    "function": {"name": "weather", "arguments": {"place": "Reykjavík", "days": 2, "exact": True}},
}

THREE = [user("Why?"), assistant("Because."), user("  And then?\n")]

CONVERSATIONS = {
    "one": [user("Hello!")],
    "system": [system("Be brief."), user("Hello, \"you\" & <me>!")],
    "three": THREE,
    "system and three": [system("Be\nbrief. ")] + THREE,
    "thought": [
        user("2 + 2?"),
        assistant("<think>\nTwo and two.\n</think>\n\nFour."),
        user("Sure?"),
    ],
    "blank": [user(""), assistant(" \n"), user("é 漢字 🙂 {{ x }} {% if %} ' \\ \t")],
    "parts": [{"role": "user", "content": [{"type": "text", "text": "Look."}]}],
    "ends with answer": [user("Hi."), assistant("Hello.")],
    "two users": [user("Hi."), user("Anybody?")],
    "starts with answer": [assistant("Hello.")],
    "tools": [system("Help."), user("The weather?")],
    "call": [
        user("The weather in Reykjavík?"),
        assistant("", tool_calls=[CALL]),
        {"role": "tool", "name": "weather", "tool_call_id": "abcdefghi", "content": "{\"t\": -1.5}"},
        assistant("Cold."),
        user("Thanks."),
    ],
    "none": [],
}


def contexts():
    for name, messages in CONVERSATIONS.items():
        for prompt in (True, False):
            context = {
                "messages": messages,
                "add_generation_prompt": prompt,
                "tools": [WEATHER] if name in ("tools", "call") else None,
                "documents": None,
                "bos_token": "<s>",
                "eos_token": "</s>",
                "pad_token": "<pad>",
                "unk_token": "<unk>",
            }
            yield f"{name}, {'prompt' if prompt else 'no prompt'}", context
    yield "thinking", {**context, "messages": THREE, "enable_thinking": True}
    yield "not thinking", {
        **context, "messages": THREE, "enable_thinking": False, "add_generation_prompt": True,
    }


def main(mote, folder):
    templates = sorted(pathlib.Path(folder).glob("*.jinja"))
    same = raised = lenient = known = 0
    wrong = []
    with tempfile.TemporaryDirectory() as place:
        file = pathlib.Path(place) / "context.json"
        for path in templates:
            try:
                template = environment().from_string(path.read_text(encoding="utf-8"))
            except jinja2.exceptions.TemplateSyntaxError as error:
                template = error
            for name, context in contexts():
                try:
                    if isinstance(template, Exception):
                        raise template
                    expected = template.render(**context)
                except Exception as error:  # Whatever Python raises.
                    expected = error
                file.write_text(json.dumps(context), encoding="utf-8")
                command = [mote, "chat", "--template", path, "--date", DATE, "--render", file]
                got = subprocess.run(command, capture_output=True, check=False)
                if got.returncode not in (0, 1, 2, 3):
                    wrong.append((path, name, expected, f"exit code {got.returncode}"))
                elif isinstance(expected, Exception):
                    if got.returncode != 0:
                        raised += 1
                    elif isinstance(expected, TypeError):
                        lenient += 1
                    else:
                        wrong.append((path, name, expected, got.stdout.decode()))
                elif got.returncode != 0:
                    wrong.append((path, name, expected, got.stderr.decode()))
                elif got.stdout.decode() != expected and path.name in KNOWN:
                    known += 1
                elif got.stdout.decode() != expected:
                    wrong.append((path, name, expected, got.stdout.decode()))
                else:
                    same += 1
    for path, name, expected, got in wrong:
        if isinstance(expected, Exception):
            expected = f"{type(expected).__name__}: {expected}"
        print(f"{path.name}: {name}:\n  expected {expected!r}\n  got      {got!r}")
    print(f"{len(templates)} templates: {same} texts equal, {raised} errors in both, {lenient} times "
          f"Python fails where mote does not, {known} known to differ, {len(wrong)} wrong")
    return bool(wrong) or not templates


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2]))
