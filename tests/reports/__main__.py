"""Runs the cases and prints one line for each."""

import importlib
import pathlib
import sys
import traceback

import support

CASES = pathlib.Path(__file__).parent / "cases"


def outcome(name):
    """Runs one case; returns the first line of its docstring and what is wrong."""
    try:
        case = importlib.import_module(f"cases.{name}")
        with support.Site() as site:
            case.run(site)
        # A case that expects nothing proves nothing.
        failures = site.failures if site.expectations else ["the case has no expectation"]
    except Exception:
        return name, [traceback.format_exc()]
    return case.__doc__.strip().splitlines()[0], failures


def main(words):
    names = sorted(path.stem for path in CASES.glob("*.py"))
    chosen = [name for name in names if not words or any(word in name for word in words)]
    if not chosen:
        sys.exit(f"no case is named so; there are: {', '.join(names)}")
    failed = 0
    for name in chosen:
        title, failures = outcome(name)
        failed += bool(failures)
        print(f"{'FAILED' if failures else 'ok    '} {name}: {title}", flush=True)
        for failure in failures:
            print(f"       {failure.strip()}", flush=True)
    print(f"reports: {len(chosen) - failed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main(sys.argv[1:])
