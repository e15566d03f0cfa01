"""Print the book's configuration with the buttons that need a repository: source, edit, issue, Colab.

    python tools/repository_links.py https://HOST/OWNER/NAME main > _config.published.yml
    jupyter-book build . --config _config.published.yml

No address is kept in the project: the publishing workflow passes that of the repository it runs in, so that a
copy of the project links to itself.
"""

import sys
from pathlib import Path

import yaml

CONFIG = Path(__file__).parents[1] / "_config.yml"


def with_repository(config: dict, url: str, branch: str, baseurl: str = "") -> dict:
    """Return ``config`` with the repository's address and the buttons that lead to it.

    Raises:
        ValueError: the address is not one of an owner and a name on some https host.
    """
    scheme, _, path = url.rstrip("/").partition("://")
    if scheme != "https" or len(path.split("/")) != 3:
        raise ValueError(f"expected https://HOST/OWNER/NAME, got {url!r}")
    buttons = dict.fromkeys(["use_repository_button", "use_edit_page_button", "use_issues_button"], True)
    return config | {
        "repository": {"url": url.rstrip("/"), "branch": branch, "path_to_book": ""},
        "launch_buttons": {"colab_url": "https://colab.research.google.com"},
        "html": config["html"] | buttons | {"baseurl": baseurl},
    }


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    stored = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))
    print(yaml.safe_dump(with_repository(stored, *sys.argv[1:]), sort_keys=False), end="")
