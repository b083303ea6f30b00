"""`engine-bench matrix`: compare agents and models on benchmarks under one budget."""

from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from rich.console import Console
from rich.markdown import Markdown

from flows import exit_codes
from flows.matrix_parameters import MatrixParameters

if TYPE_CHECKING:  # brings Prefect along, which takes a second to import
    from flows.matrix_document import MatrixDocument


def matrix(
    *,
    parameters: Annotated[MatrixParameters, Parameter(name="*", negative="")] = MatrixParameters(),  # noqa: B008
    json: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Compare agents and models on benchmarks, run after run as far as a budget goes.

    Parameters
    ----------
    json
        Print the matrix document, and nothing else, on stdout.
    """
    from flows import runner  # noqa: PLC0415 - see above
    from flows.matrix_document import markdown  # noqa: PLC0415

    document, code = runner.conduct(lambda: _run(parameters), parameters.backend)
    if document is None:
        return code
    if json:
        print(document.model_dump_json(indent=2))  # noqa: T201
    else:
        Console().print(Markdown(markdown(document)))
    return code


async def _run(parameters: MatrixParameters) -> "tuple[MatrixDocument, int]":
    from flows.matrix import MatrixIncomplete, engine_bench_matrix  # noqa: PLC0415 - see above

    try:
        return await engine_bench_matrix(**parameters.model_dump()), exit_codes.OK
    except MatrixIncomplete as incomplete:
        return incomplete.document, exit_codes.FAILED
