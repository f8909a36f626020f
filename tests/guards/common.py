"""The tables of the guards: lines of a name and figures, under the compiler that made them."""
import os
import pathlib
import subprocess
import sys


def compiler():
    """What decides about instructions: rustc's release and its LLVM."""
    command = [os.environ.get("RUSTC", "rustc"), "-vV"]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    facts = dict(line.split(": ", 1) for line in text.splitlines() if ": " in line)
    return f"rustc {facts['release']}, LLVM {facts['LLVM version']}, {facts['host']}"


class Table:
    """A file beside this one."""

    def __init__(self, name, columns, key_words, job="counts"):
        self.again = f"./ci.sh {job} --update"
        self.path, self.columns = pathlib.Path(__file__).with_name(name), columns
        self.compiler, self.lines = None, {}
        lines = self.path.read_text().splitlines() if self.path.exists() else []
        for line in lines:
            if line.startswith("# made by "):
                self.compiler = line.removeprefix("# made by ")
            elif line and not line.startswith("#"):
                words = line.split()
                self.lines[" ".join(words[:key_words])] = [float(w) for w in words[key_words:]]

    def write(self, measured, by):
        lines = [f"# {self.columns}; see the script of the same name", f"# made by {by}"]
        lines += [" ".join([key, *map(str, measured[key])]) for key in sorted(measured)]
        self.path.write_text("\n".join(lines) + "\n")

    def finish(self, measured, compare, update, by):
        """Writes the table, or compares with it and ends the process."""
        name = self.path.name
        if update:
            self.write(measured, by)
            print(f"{name}: written, {len(measured)} lines")
            return
        if by != self.compiler:
            print(f"{name}: NOT COMPARABLE: made by {self.compiler}, this is {by}")
            return
        worse, better = compare(self.lines, measured)
        for line in better:
            print(f"{name}: better: {line}")
        if better:
            print(f"{name}: lower the table, so that it stays: {self.again}")
        for line in worse:
            print(f"{name}: WORSE: {line}")
        if worse:
            sys.exit(f"{name}: {len(worse)} figures are worse; if that is meant: {self.again}")
        print(f"{name}: {len(measured)} lines compared, none worse")
