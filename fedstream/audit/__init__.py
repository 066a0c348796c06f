"""Verify a run from the bytes in the bucket: the chain of commits, every object, every verdict and every average.

On request, the records on the brokers are verified too.
"""

from fedstream.audit.copy import copy_run
from fedstream.audit.verify import VerifyReport, verify_run

__all__ = ["VerifyReport", "copy_run", "verify_run"]
