"""What Sonopaint adds to the start of AUTOMATIC1111 or Forge, by the host's own record of it.

Run: python benchmarks/webui_startup.py http://127.0.0.1:7860 [--without http://127.0.0.1:7861]

The host writes down how long each script and each callback at its start took; those of ours are listed. What
we add to the page is in no row of its own: for that, name a second host of the same kind that was started
without the extension, on the same machine and equally idle, and the parts that we take part in are compared.
"""

from __future__ import annotations

import argparse
import json
import urllib.request

PARTS = ("load scripts", "scripts before_ui_callback", "create ui", "app_started_callback")


def record(url: str) -> dict[str, float]:
    """The host's startup record: seconds by what was done; "a/b" is a part of "a"."""
    with urllib.request.urlopen(f"{url.rstrip('/')}/internal/profile-startup", timeout=30) as answer:
        return dict(json.load(answer)["records"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("--without", help="a host without the extension")
    options = parser.parse_args()
    seen = record(options.url)
    ours = {name: seconds for name, seconds in seen.items() if "sonopaint" in name.lower()}
    for name, seconds in ours.items():
        print(f"{seconds:7.3f} s  {name}")
    print(f"{sum(ours.values()):7.3f} s  in rows of ours")
    if options.without:
        bare = record(options.without)
        for part in PARTS:
            more = seen.get(part, 0.0) - bare.get(part, 0.0)
            print(f"{more:+7.3f} s  {part} ({bare.get(part, 0.0):.3f} s without)")


if __name__ == "__main__":
    main()
