"""Stage `report`: every number and figure so far on one self-contained page, and the headline numbers for DVC."""

from pathlib import Path

from triptych.core.errors import one_line_errors
from triptych.report import headline, page
from triptych.results.reader import Results

PAGE = Path("plots/report.html")


def main() -> None:
    """Builds the page and metrics/headline from the files of the stages before."""
    results = Results()
    page.write(PAGE, results)
    headline.write(results)
    print(f"the report: {PAGE}")


if __name__ == "__main__":
    with one_line_errors():
        main()
