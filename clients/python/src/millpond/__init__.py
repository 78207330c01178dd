"""Client of Millpond, one pool of AI compute."""

from ._client import AsyncPond, Pond, Problem
from ._job import AsyncJob, Job

__all__ = ["AsyncJob", "AsyncPond", "Job", "Pond", "Problem"]
__version__ = "0.1.0"
