"""A training step as one CUDA graph: hundreds of small kernels take longer to launch one by one than to run."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

WARM_UP_RUNS = 3  # runs before the graph is captured, in which libraries choose their kernels


class CudaGraphLoss:
    """Computes a loss and leaves its gradients in the parameters; all inputs must have the shapes of the first ones."""

    def __init__(self, network: nn.Module, loss_of: Callable[[Sequence[Tensor]], Tensor], device: str) -> None:
        self._network, self._loss_of, self._device = network, loss_of, device
        self._graph: torch.cuda.CUDAGraph | None = None
        self._inputs: list[Tensor] = []
        self._loss = torch.empty(())

    def __call__(self, inputs: Sequence[Tensor]) -> Tensor:
        """Return the loss. It needs no backward: the gradients are in the parameters already."""
        if self._graph is None:
            self._graph = self._capture(inputs)
        for mine, given in zip(self._inputs, inputs, strict=True):
            mine.copy_(given)
        self._graph.replay()
        return self._loss

    def _capture(self, inputs: Sequence[Tensor]) -> torch.cuda.CUDAGraph:
        self._inputs = [each.to(self._device, copy=True) for each in inputs]
        with torch.cuda.device(self._device):  # streams and graphs belong to the current device
            aside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
            aside.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(aside):
                for _ in range(WARM_UP_RUNS):
                    self._network.zero_grad(set_to_none=True)
                    self._loss_of(self._inputs).backward()  # type: ignore[no-untyped-call]
            torch.cuda.current_stream().wait_stream(aside)
            self._network.zero_grad(set_to_none=True)  # backward now allocates gradients in the graph, which every run overwrites
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                loss = self._loss_of(self._inputs)
                loss.backward()  # type: ignore[no-untyped-call]
        self._loss = loss.detach()
        return graph
