"""The default recipe as one plain script: what the pipeline is measured against (`make bench`).

Imports, data, the textbook training loop, a report, two figures: no graph, no cache, no replicas, no record.
"""

import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import torch
from sklearn.datasets import make_circles
from sklearn.metrics import ConfusionMatrixDisplay, classification_report
from sklearn.model_selection import train_test_split
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

EPOCHS = 100


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(26)
    features, target = make_circles(10_000, noise=0.05, factor=0.8, random_state=26)
    train_x, test_x, train_y, test_y = train_test_split(features, target, test_size=0.33, random_state=26)
    train_x, train_y = torch.tensor(train_x, dtype=torch.float32), torch.tensor(train_y, dtype=torch.float32)
    hidden = nn.Linear(2, 10)
    nn.init.kaiming_uniform_(hidden.weight, nonlinearity="relu")
    network = nn.Sequential(hidden, nn.ReLU(), nn.Linear(10, 1))
    loader = DataLoader(TensorDataset(train_x, train_y), batch_size=64, shuffle=True)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    criterion = nn.BCEWithLogitsLoss()
    losses = []
    for _ in range(EPOCHS):
        for x, y in loader:
            optimizer.zero_grad()
            loss = criterion(network(x).squeeze(1), y)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    with torch.no_grad():
        predicted = (network(torch.tensor(test_x, dtype=torch.float32)).squeeze(1) > 0).int().numpy()
    (folder / "report.txt").write_text(classification_report(test_y, predicted))
    plt.plot(losses)
    plt.savefig(folder / "loss.png")
    ConfusionMatrixDisplay.from_predictions(test_y, predicted)
    plt.savefig(folder / "confusion_matrix.png")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
