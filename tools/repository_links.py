"""Print the book's configuration with what needs a repository or a site of its own.

    python tools/repository_links.py https://HOST/OWNER/NAME main https://OWNER.HOST/NAME/ > _config.published.yml
    jupyter-book build . --config _config.published.yml

The repository brings the buttons: source, edit, issue, Colab. Colab opens the notebooks that
tools/reader_notebooks.py writes, on a branch of their own, where the publishing workflow puts them. The site, which
may be left out, brings the addresses that search engines and social networks need, and links to the downloads, which
the publishing workflow makes.
No address is kept in the project: the publishing workflow passes those of the repository it runs in, so that a
copy of the project links to itself.
"""

import copy
import sys
from pathlib import Path

import yaml

CONFIG = Path(__file__).parents[1] / "_config.yml"
COLAB = "https://colab.research.google.com"
FIRST = "book/01_cross_correlation.ipynb"  # what the first page's Colab button opens
READER_BRANCH = "reader-notebooks"
DOWNLOADS = {"convtwist-book.pdf": "The book as a PDF", "convtwist-notebooks.zip": "The notebooks as a ZIP"}


def with_repository(config: dict, url: str, branch: str, baseurl: str = "") -> dict:
    """Return ``config`` with the repository's address and the buttons that lead to it.

    Args:
        config: the stored configuration.
        url: the repository, https://HOST/OWNER/NAME.
        branch: the branch whose files the buttons for source and editing open.
        baseurl: where the pages will be, with a slash at the end; empty if they have no address.

    Raises:
        ValueError: the address is not one of an owner and a name on some https host, or the site's not https.
    """
    scheme, _, path = url.rstrip("/").partition("://")
    if scheme != "https" or len(path.split("/")) != 3:
        raise ValueError(f"expected https://HOST/OWNER/NAME, got {url!r}")
    if baseurl and not (baseurl.startswith("https://") and baseurl.endswith("/")):
        raise ValueError(f"expected a site such as https://OWNER.HOST/NAME/, with the last slash, got {baseurl!r}")
    sphinx = copy.deepcopy(config["sphinx"])
    context = sphinx["config"].setdefault("html_context", {})
    context["reader_branch"] = READER_BRANCH
    if path.split("/")[0] == "github.com":
        context["colab"] = f"{COLAB}/github/{path.partition('/')[2]}/blob/{READER_BRANCH}/{FIRST}"
    if baseurl:
        sphinx["config"]["html_context"] |= {"site": baseurl, "downloads": DOWNLOADS}
    buttons = dict.fromkeys(["use_repository_button", "use_edit_page_button", "use_issues_button"], True)
    return config | {
        "repository": {"url": url.rstrip("/"), "branch": branch, "path_to_book": ""},
        "launch_buttons": {"colab_url": COLAB},
        "html": config["html"] | buttons | {"baseurl": baseurl},
        "sphinx": sphinx,
    }


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    stored = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))
    print(yaml.safe_dump(with_repository(stored, *sys.argv[1:]), sort_keys=False), end="")
