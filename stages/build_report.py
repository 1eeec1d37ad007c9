"""Stage `report`: all numbers and figures so far on one self-contained page, headline numbers, and model cards."""

from pathlib import Path

from triptych.core.errors import one_line_errors
from triptych.page import build as page
from triptych.page import cards, headline
from triptych.report.reader import Results

PAGE = Path("plots/report.html")


def main() -> None:
    """Builds the page, metrics/headline and models/cards from the files of the stages before."""
    results = Results()
    page.write(PAGE, results)
    headline.write(results)
    cards.write(results)
    print(f"the report: {PAGE}")


if __name__ == "__main__":
    with one_line_errors():
        main()
