"""Constant tables of a module, which stay in float32 when a model is cast."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn


class Float32Tables(nn.Module):
    """The base of modules that hold constant tables and nothing else.

    The tables are buffers, so that they move to a device with the model, but a cast leaves them in float32:
    in bf16 a table's 0.9994 would be 1. They are not part of the state dict.
    """

    def add_table(self, name: str, values: Tensor) -> None:
        self.register_buffer(name, values.float(), persistent=False)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Float32Tables:
        for name, table in self._buffers.items():
            assert table is not None
            moved = fn(table)
            self._buffers[name] = moved if moved.dtype == table.dtype else table.to(moved.device)
        return self
