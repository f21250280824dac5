"""Entry point of the runner: `python insula_runner/__main__.py STREAM JOB_QUEUE`, the numbers of two descriptors.

The folder `startup` is on its PYTHONPATH. The handler and its child processes can import only those modules of Insula
that `startup/sitecustomize.py` finds. A child of multiprocessing's spawn or forkserver runs this file again, as
`__mp_main__`.
"""

from __future__ import annotations

import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))

if __name__ == "__main__":
    # Python adds a script's own folder to sys.path.
    sys.path[:] = [entry for entry in sys.path if entry != HERE]
    from insula_runner.session import main

    main(int(sys.argv[1]), int(sys.argv[2]), os.environ)
elif __name__ == "__mp_main__":
    from insula_runner.handler.standard_logging import write_as_lines
    from insula_runner.output import buffer_by_line

    buffer_by_line()
    write_as_lines()
