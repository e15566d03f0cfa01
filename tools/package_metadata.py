"""What a registry shows of the package: the README with whole addresses, and the project's links.

hatchling calls this hook at every build. It takes the address of the repository from the environment, because none is
kept in the project; the release workflow passes its own:

    CONVTWIST_REPOSITORY=https://HOST/OWNER/NAME CONVTWIST_BOOK=https://OWNER.HOST/NAME/ python -m build

Links then lead to the files of the tag ``v`` + version. Without an address a link to a file of the project becomes
plain text, and a picture its description, since a registry has no file that they could lead to.
"""

import os
import re
from pathlib import Path

from hatchling.metadata.plugin.interface import MetadataHookInterface

FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(?P<picture>!?)\[(?P<text>[^\]]*)\]\((?P<target>[^)\s]+)\)")


def check_repository(address: str) -> str:
    """Return the address without a slash at its end.

    Raises:
        ValueError: it is not https://HOST/OWNER/NAME.
    """
    if not re.fullmatch(r"https://[^/\s]+/[^/\s]+/[^/\s]+/?", address):
        raise ValueError(f"CONVTWIST_REPOSITORY must be https://HOST/OWNER/NAME, got {address!r}")
    return address.rstrip("/")


def long_description(readme: str, root: Path, repository: str = "", tag: str = "") -> str:
    """Return ``readme`` for a page outside the project; code blocks stay as they are.

    Args:
        readme: Markdown.
        root: the project's folder, in which relative links are looked up.
        repository: https://HOST/OWNER/NAME, or empty.
        tag: the state of the files that links lead to, such as v0.1.0.

    Raises:
        ValueError: ``repository`` is no such address, or a link leads to no file of the project.
    """
    repository = repository and check_repository(repository)

    def whole(match: re.Match) -> str:
        path = match["target"].partition("#")[0]
        if "://" in path or match["target"].startswith(("#", "mailto:")):
            return match[0]
        if not (root / path).exists():
            raise ValueError(f"README.md links to {path}, which is no file of the project")
        if not repository:
            return f"({match['text']})" if match["picture"] else match["text"]
        kind = "raw" if match["picture"] else "tree" if (root / path).is_dir() else "blob"
        return f"{match['picture']}[{match['text']}]({repository}/{kind}/{tag}/{match['target']})"

    done, parts = 0, []
    for fence in FENCE.finditer(readme):
        parts += [LINK.sub(whole, readme[done:fence.start()]), fence[0]]
        done = fence.end()
    return "".join([*parts, LINK.sub(whole, readme[done:])])


def project_urls(repository: str = "", book: str = "", tag: str = "") -> dict[str, str]:
    """Return the links that a registry lists beside the package; none where there is no address.

    Raises:
        ValueError: ``repository`` is not https://HOST/OWNER/NAME, or the book's address is not https.
    """
    if book and not book.startswith("https://"):
        raise ValueError(f"CONVTWIST_BOOK must be the https address of the published book, got {book!r}")
    urls = {"Documentation": book} if book else {}
    if repository:
        repository = check_repository(repository)
        urls |= {"Repository": repository, "Issues": f"{repository}/issues",
                 "Changelog": f"{repository}/blob/{tag}/CHANGELOG.md"}
    return urls


class CustomMetadataHook(MetadataHookInterface):
    """Fills in ``readme`` and ``urls``, which pyproject.toml declares as dynamic."""

    def update(self, metadata: dict) -> None:
        """Write both fields into ``metadata``, whose version hatchling has read by then."""
        root = Path(self.root)
        repository, book = os.environ.get("CONVTWIST_REPOSITORY", ""), os.environ.get("CONVTWIST_BOOK", "")
        tag = f"v{metadata['version']}"
        text = long_description((root / "README.md").read_text(encoding="utf-8"), root, repository, tag)
        metadata["readme"] = {"content-type": "text/markdown", "text": text}
        metadata["urls"] = project_urls(repository, book, tag)
