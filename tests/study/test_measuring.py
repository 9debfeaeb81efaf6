"""When a network stops, and what is kept of it: as the trainer has it."""

from pathlib import Path

import numpy as np
import pytest

from retrace.params.reader import read
from retrace.params.train import Train
from retrace.study.measuring import Course, Seen, Task

LOSSES = [1.0, 0.9, 0.95, 0.8, 0.85, 0.87, 0.7]


def seen(loss: float) -> Seen:
    one = np.array([loss])
    right = np.full((1, 4), -loss)
    return Seen(np.array([True]), one, np.array([0.5]), right, np.stack([one / 2, one / 2]), np.full(4, 0.25))


@pytest.mark.parametrize(("patience", "best", "epochs"), [(1, 2, 3), (2, 4, 6), (3, 7, 7), (None, 7, 7)])
def test_it_stops_after_so_many_epochs_without_a_better_loss(project, patience, best, epochs):
    section = read(Train).model_copy(update={"patience": patience, "epochs": len(LOSSES)})
    course = Course(Task(section, range(1), len(LOSSES), Path()))
    for epoch, loss in enumerate(LOSSES, 1):
        if course.wants_more:
            course.note(epoch, seen(loss), None, slice(0, 1))
    assert (course.best_epochs, course.epochs) == ([best], [epochs])
    assert course.right.tolist() == [[-min(LOSSES[:epochs])] * 4]


def test_a_row_is_judged_at_the_epoch_that_was_best_on_other_rows(project):
    section = read(Train).model_copy(update={"epochs": 2})
    course = Course(Task(section, range(1), 2, Path()))
    for epoch, (even, odd) in enumerate([(0.1, 0.9), (0.8, 0.2)], 1):
        right = np.array([[-even, -odd, -even, -odd]])
        halves = np.array([[even / 2], [odd / 2]])
        loss = np.array([(even + odd) / 2])
        course.note(epoch, Seen(np.array([True]), loss, loss, right, halves, np.full(4, 0.25)), None, slice(0, 1))
    assert course.right.tolist() == [[-0.8, -0.9, -0.8, -0.9]], "the even rows at epoch 2, the odd ones at epoch 1"
