"""Stage `report`: write the report page (one self-contained file), the headline numbers and the model cards."""

from triptych.core.errors import one_line_errors
from triptych.core.files import write_text
from triptych.page import build as page
from triptych.page import cards
from triptych.report.reader import Results


def main() -> None:
    """Read the outputs of the other stages, and write plots/report.html, metrics/headline and models/cards."""
    results = Results()
    write_text(page.PAGE, page.render(results))
    page.write_headline(results)
    cards.write(results)
    print(f"report: {page.PAGE}")


if __name__ == "__main__":
    with one_line_errors():
        main()
