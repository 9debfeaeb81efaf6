"""Links that are none of TensorFlow Playground's: a line for each fault, and nothing written."""

import pytest

from retrace.cli.playground import playground
from retrace.cli.playground_link import HOST, read_link
from retrace.params.messages import PATH
from retrace.runtime.errors import BAD_PARAMS, UserError
from tests.conftest import PARAMS

HOSTILE = {
    "": "must be a link to https://playground.tensorflow.org/#...; got the text ''",
    "https://example.org/#seed=1": "must be a link to https://playground.tensorflow.org/#...",
    "https://playground.tensorflow.org.evil.org/#": "must be a link to",
    "https://playground.tensorflow.org/other#seed=1": "must be a link to",
    "https://playground.tensorflow.org/?seed=1#": "must be a link to",
    "file://playground.tensorflow.org/#": "must be a link to",
    "https://[/#": "must be a link to",
    f"https://{HOST}/#foo=1": "the text 'foo' is not a key of the page; delete it from the link",
    f"https://{HOST}/#batchsize=1": "the text 'batchsize' is not a key of the page; did you mean batchSize?",
    f"https://{HOST}/#noise": "noise has no value; write noise=... or delete it from the link",
    f"https://{HOST}/#noise=1&noise=2": "noise stands twice; delete one of the two from the link",
    f"https://{HOST}/#noise=81": "noise must be a number of at most 2 decimals from 0 to 80; got the text '81'",
    f"https://{HOST}/#noise=-1": "noise must be",
    f"https://{HOST}/#noise=1.234": "noise must be",
    f"https://{HOST}/#noise=NaN": "noise must be",
    f"https://{HOST}/#learningRate=0": "learningRate must be a number above 0 up to 1e+06; got the text '0'",
    f"https://{HOST}/#learningRate=1e99": "learningRate must be",
    f"https://{HOST}/#learningRate=Infinity": "learningRate must be",
    f"https://{HOST}/#regularizationRate=-1": "regularizationRate must be a number from 0 to 1e+06; got the text '-1'",
    f"https://{HOST}/#batchSize=0": "batchSize must be a whole number from 1 to 500; got the text '0'",
    f"https://{HOST}/#batchSize=1.5": "batchSize must be",
    f"https://{HOST}/#batchSize=251": "batchSize must be at most 250, the training rows, or Playground takes no step",
    f"https://{HOST}/#percTrainData=100": "percTrainData must be a number of at most 2 decimals from 1 to 99",
    f"https://{HOST}/#networkShape=4,,2": "networkShape must be up to 32 whole numbers from 1 to 65,536",
    f"https://{HOST}/#networkShape=0": "networkShape must be",
    f"https://{HOST}/#networkShape={'1,' * 32}1": "networkShape must be",
    f"https://{HOST}/#activation=gelu": "activation must be one of linear, relu, sigmoid, tanh; got the text 'gelu'",
    f"https://{HOST}/#x=1": "x must be true or false; got the text '1'",
    f"https://{HOST}/#problem=regression": "problem=regression has no counterpart: Retrace trains classifiers only",
    f"https://{HOST}/#networkShape=4%2C2": "the link is percent-encoded, which the page itself does not read; copy it",
    f"https://{HOST}/#seed=\u00e9": "a link has letters, digits and signs of ASCII only; got the text",
    f"https://{HOST}/#seed=1\x1b[31m": "a link has letters, digits and signs of ASCII only; got the text",
    f"https://{HOST}/#seed=1\nx=2": "a link has letters, digits and signs of ASCII only; got the text",
    f"https://{HOST}/#seed={'1' * 2000}": "the link has 2,040 letters, and may have 2,000; copy it from",
}


@pytest.mark.parametrize("url", HOSTILE, ids=range(len(HOSTILE)))
def test_a_hostile_link_is_one_line_and_writes_nothing(project, url):
    with pytest.raises(UserError) as caught:
        playground(url, yes=True)
    assert caught.value.status == BAD_PARAMS
    assert str(caught.value).startswith(f"playground: {HOSTILE[url]}")
    assert "\n" not in str(caught.value)
    assert PATH.read_text() == PARAMS


def test_all_faults_come_at_once():
    with pytest.raises(UserError) as caught:
        read_link(f"https://{HOST}/#foo=1&noise=x&batchSize=0")
    assert [line.split()[1] for line in str(caught.value).split("\n")] == ["the", "batchSize", "noise"]
