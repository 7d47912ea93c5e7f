"""Fixtures that every test file may use."""

from __future__ import annotations

from servers import fault_proxy, s3_server

__all__ = ["fault_proxy", "s3_server"]
