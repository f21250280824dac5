"""The handler's process: `python insula_runner/__main__.py DESCRIPTOR`, with the folder `startup` on its PYTHONPATH.

What a handler can import of ours is what `startup/sitecustomize.py` finds, in this process as in its children. Run a
second time, as `__mp_main__`, by children of multiprocessing's spawn and forkserver.
"""

from __future__ import annotations

import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))

if __name__ == "__main__":
    # Python puts a script's own folder there.
    sys.path[:] = [entry for entry in sys.path if entry != HERE]
    from insula_runner.session import main

    main(int(sys.argv[1]), os.environ)
elif __name__ == "__mp_main__":
    from insula_runner.handler.standard_logging import write_as_lines
    from insula_runner.output import buffer_by_line

    buffer_by_line()
    write_as_lines()
