"""The world that the sandbox begins with when nobody gives it another: three people at a small publisher."""

from __future__ import annotations

from docsession.sandbox.media import pdf, png
from docsession.sandbox.records import rfc3339
from docsession.sandbox.seed import EXAMPLE_PEOPLE, Seed, SeedComment, SeedDrive, SeedFile, SeedReply

__all__ = ["example"]

ANN, BOB, CAT = (person.email for person in EXAMPLE_PEOPLE)

_PLAN = """Autumn catalogue

We open with the three field guides. The river guide needs its new maps by the end of the month.
The cookery list waits until the photographs are in.

Print run: 4,000. Price: to be settled with the shops."""

_BUDGET = """Item,Estimate,Spent
Maps,1200,300
Photographs,2400,2400
Paper,5100,0
Printing,8800,0
"""

_TALK = """Autumn catalogue
Three field guides
What the shops asked for
Dates"""

_MINUTES = """Tuesday's meeting

Ann: the river guide is late, by a week at most.
Bob: the shops want the price by Friday.
Cat: the photographs are here."""

_LOGO = """<svg xmlns="http://www.w3.org/2000/svg" width="120" height="120" viewBox="0 0 120 120">
<circle cx="60" cy="60" r="54" fill="#0b6e6e"/>
<path d="M30 78 L60 30 L90 78 Z" fill="#f4efe6"/>
</svg>
"""

_STYLE = """House style

Single quotes. Serial commas. Metres before feet.
"""


def _river(x: int, y: int) -> tuple[int, int, int]:
    """A bend of blue in green, seen from above."""
    middle = 60 + (x - 80) ** 2 // 160
    if abs(y - middle) < 9:
        return 70, 130, 180
    return 120 - y // 4, 160 - x // 8, 90


def example(now: float) -> Seed:
    """The seed, with its times counted back from ``now``."""

    def ago(hours: float) -> str:
        return rfc3339(now - hours * 3600)

    return Seed(
        people=list(EXAMPLE_PEOPLE),
        drives=[SeedDrive(name="Press room", members={ANN: "organizer", BOB: "writer", CAT: "reader"})],
        files=[
            SeedFile(name="Catalogue", type="folder", owner=ANN, shared={BOB: "writer"}, modified=ago(900)),
            SeedFile(
                name="Autumn plan",
                owner=ANN,
                folder="Catalogue",
                text=_PLAN,
                shared={CAT: "commenter"},
                starred_by=[ANN],
                modified=ago(3),
                comments=[
                    SeedComment(
                        author=BOB,
                        text="The shops will not take 4,000. Shall we say 3,000?",
                        quote="Print run: 4,000",
                        replies=[SeedReply(author=ANN, text="Let me ask the printer what that saves us.")],
                    ),
                    SeedComment(
                        author=CAT,
                        text="The photographs are in.",
                        quote="until the photographs are in",
                        replies=[SeedReply(author=ANN, text="Lovely, thank you!", action="resolve")],
                    ),
                ],
            ),
            SeedFile(
                name="Budget",
                type="spreadsheet",
                owner=BOB,
                folder="Catalogue",
                text=_BUDGET,
                modified=ago(26),
            ),
            SeedFile(
                name="Talk for the shops",
                type="presentation",
                owner=ANN,
                text=_TALK,
                shared={BOB: "writer", CAT: "reader"},
                modified=ago(50),
            ),
            SeedFile(
                name="River bend.png",
                type="image/png",
                owner=CAT,
                content=png(160, 120, _river),
                shared={ANN: "reader", BOB: "commenter"},
                modified=ago(70),
                comments=[SeedComment(author=BOB, text="Is this the bend above the mill?")],
            ),
            SeedFile(
                name="Logo.svg",
                type="image/svg+xml",
                owner=CAT,
                text=_LOGO,
                shared={ANN: "writer"},
                modified=ago(400),
            ),
            SeedFile(
                name="House style.txt",
                type="text/plain",
                owner=BOB,
                text=_STYLE,
                shared={"anyone": "reader", ANN: "writer"},
                modified=ago(700),
            ),
            SeedFile(
                name="Printer's offer.pdf",
                type="application/pdf",
                owner=ANN,
                folder="Catalogue",
                content=pdf("Printer's offer", "4,000 copies: 8,800\n3,000 copies: 7,100"),
                modified=ago(120),
            ),
            SeedFile(name="Notes to myself", owner=ANN, text="Ask Bob about the mill.", modified=ago(5)),
            SeedFile(
                name="Shop addresses", type="spreadsheet", owner=BOB, text="Shop,Town\n", modified=ago(300)
            ),
            SeedFile(name="Poem, unfinished", owner=CAT, text="The river\n", modified=ago(1000)),
            SeedFile(name="Minutes", owner=ANN, folder="Press room", text=_MINUTES, modified=ago(20)),
            SeedFile(name="Old draft", owner=ANN, text="Superseded.", trashed=True, modified=ago(2000)),
        ],
    )
