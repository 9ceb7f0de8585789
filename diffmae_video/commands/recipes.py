"""Lists the recipes that come with the package, each with its first line.

    diffmae recipes              all of them; those of a study are one line
    diffmae recipes k400         those whose names contain "k400"
    diffmae recipes --show k400/pretrain_vit_b

--config takes a name from this list, or the path of a recipe of your own. A recipe of your own can start from
one of these: `_BASE_: /path/to/it.yaml`; --show prints the path.
"""

from collections import Counter

from diffmae_video.cli import tool_parser
from diffmae_video.config import list_recipes, recipe_path


def main() -> None:
    parser = tool_parser(__doc__)
    parser.add_argument("filter", nargs="?", default="", metavar="TEXT", help="part of a name")
    parser.add_argument("--show", metavar="NAME", help="print this recipe and its path")
    args = parser.parse_args()
    if args.show:
        path = recipe_path(args.show).resolve()
        print(f"# {path}\n{path.read_text(encoding='utf-8')}", end="")
        return
    summaries = {name: text for name, text in list_recipes().items() if args.filter in name}
    if not args.filter:
        summaries = fold_studies(summaries)
    width = max(map(len, summaries), default=0)
    for name, summary in summaries.items():
        print(f"{name:<{width}}  {summary}")


def fold_studies(summaries: dict[str, str]) -> dict[str, str]:
    """The recipes with one line for each folder inside another folder: a study's recipes run together."""
    studies = Counter(name.rpartition("/")[0] for name in summaries if name.count("/") > 1)
    folded = {name: text for name, text in summaries.items() if name.count("/") <= 1}
    folded |= {
        f"{study}/": f"{n} recipes of one study: diffmae recipes {study}/" for study, n in studies.items()
    }
    return dict(sorted(folded.items()))
