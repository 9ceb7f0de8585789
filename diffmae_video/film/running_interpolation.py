"""The error of linear interpolation in time over a film of any length, whose frames are seen only once."""

import numpy as np


class RunningInterpolation:
    """Sums the squared error of filling each hidden pixel linearly in time.

    A pixel that is hidden in several frames in a row is interpolated between its visible values just before
    and just after. At either end of the film the only visible value is repeated; a pixel that is never
    visible becomes the mean of all visible pixels. A fill is known only once the pixel is visible again, so
    sums over the hidden frames k = 1, 2, ... of each run are kept instead of the frames; they are exact
    integers. Memory grows only with the number of pixels that are ever hidden.
    """

    def __init__(self) -> None:
        self.before: np.ndarray | None = None  # the previous frame
        self.rows = np.zeros((0, 0), np.int32)  # of each pixel: its row in the arrays below, or -1
        self.last = np.zeros((0, 3), np.int64)  # the last visible value
        self.has_last = np.zeros(0, bool)
        self.count = np.zeros(0, np.int64)  # of hidden values x since then
        self.sums = np.zeros((0, 3), np.int64)  # of x
        self.weighted_sums = np.zeros((0, 3), np.int64)  # of k x
        self.squares = np.zeros(0, np.int64)  # of x², over the channels too
        self.error = 0.0  # of the runs that have ended

    def add(self, frame: np.ndarray, hole: np.ndarray) -> None:
        """Takes the next frame, uint8 [H, W, 3], and its hole, bool [H, W]."""
        if self.before is None:
            self.rows = np.full(hole.shape, -1, np.int32)
        self._add_rows(hole & (self.rows < 0))
        visible = (self.rows >= 0) & ~hole
        rows, values = self.rows[visible], frame[visible].astype(np.int64)
        ended = self.count[rows] > 0
        self._end_runs(rows[ended], values[ended])
        self.last[rows], self.has_last[rows] = values, True
        rows, values = self.rows[hole], frame[hole].astype(np.int64)
        self.count[rows] += 1
        self.sums[rows] += values
        self.weighted_sums[rows] += self.count[rows, None] * values
        self.squares[rows] += (values**2).sum(1)
        self.before = frame

    def finish(self, mean: np.ndarray) -> float:
        """Ends the film and returns the sum of squared errors in levels of 255, over pixels and channels.

        Args:
            mean: of the film's visible pixels, [3], in levels of 255.
        """
        (rows,) = self.count.nonzero()
        self._end_runs(rows, np.where(self.has_last[rows, None], self.last[rows], mean))
        return self.error

    def _add_rows(self, new: np.ndarray) -> None:
        """Makes rows for pixels, bool [H, W], that were visible in all frames so far."""
        n = int(new.sum())
        if n == 0:
            return
        self.rows[new] = np.arange(len(self.count), len(self.count) + n)
        last = np.zeros((n, 3), np.int64) if self.before is None else self.before[new]
        self.last = np.concatenate([self.last, last])
        self.has_last = np.concatenate([self.has_last, np.full(n, self.before is not None)])
        for name in ("count", "sums", "weighted_sums", "squares"):
            array = getattr(self, name)
            setattr(self, name, np.concatenate([array, np.zeros((n, *array.shape[1:]), np.int64)]))

    def _end_runs(self, rows: np.ndarray, after: np.ndarray) -> None:
        """Adds the errors of runs that are followed by the values [n, 3], and clears them.

        The fill is y(k) = a + d k / (n + 1) for k = 1 ... n, so the error is Σ x² - 2 Σ x y + Σ y² with
        Σ k = n (n + 1) / 2 and Σ k² = n (n + 1) (2 n + 1) / 6.
        """
        a = np.where(self.has_last[rows, None], self.last[rows], after).astype(np.float64)
        d = after - a
        n = self.count[rows, None].astype(np.float64)
        products = a * self.sums[rows] + d * self.weighted_sums[rows] / (n + 1)
        fills = n * a**2 + n * a * d + d**2 * n * (2 * n + 1) / (6 * (n + 1))
        self.error += float(self.squares[rows].sum() + (fills - 2 * products).sum())
        for sums in (self.count, self.sums, self.weighted_sums, self.squares):
            sums[rows] = 0
