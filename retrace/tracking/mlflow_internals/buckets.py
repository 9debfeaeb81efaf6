"""Artifacts in a bucket (s3://...), which MLflow reaches with boto3 from this process, and not by way of the server."""

import os
from collections.abc import Iterator

from retrace.tracking.mlflow_internals.limits import REQUEST_SECONDS

# For an answer: that of an upload comes when all of it is stored.
ANSWER_SECONDS = 5
ATTEMPTS = 2

# What S3's own codes and botocore's errors are about; what is not here keeps botocore's words.
_CREDENTIALS = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
_REASONS = {
    "NoCredentialsError": f"its bucket needs credentials; {_CREDENTIALS}",
    "PartialCredentialsError": f"its bucket needs credentials; {_CREDENTIALS}",
    "ProfileNotFound": f"its bucket needs credentials, and there is no such profile; {_CREDENTIALS}",
    "InvalidAccessKeyId": f"its bucket does not know this access key; {_CREDENTIALS}",
    "SignatureDoesNotMatch": f"its bucket refuses this secret key; {_CREDENTIALS}",
    "ExpiredToken": f"its bucket refuses credentials that have expired; {_CREDENTIALS}",
    "AccessDenied": f"its bucket refuses to be read or written with these credentials; {_CREDENTIALS}",
    "403": f"its bucket refuses to be read or written with these credentials; {_CREDENTIALS}",
    "NoSuchBucket": "its bucket is not there; make it, or set AWS_ENDPOINT_URL to the server that has it",
    "EndpointConnectionError": "its bucket's server does not answer ({url}); is AWS_ENDPOINT_URL right?",
    "ConnectTimeoutError": "its bucket's server does not answer ({url}); is AWS_ENDPOINT_URL right?",
    "ReadTimeoutError": "its bucket's server does not answer in time ({url}); is AWS_ENDPOINT_URL right?",
    "ConnectionClosedError": "its bucket's server broke off while it answered ({url}); is AWS_ENDPOINT_URL right?",
}


def limit_bucket_time(location: str | None) -> None:
    """Let boto3 wait no longer than for a tracking server: alone, it waits 308 s for a bucket's server that hangs.

    location: of an experiment's artifacts; nothing is done, or loaded, where they are in no bucket.
    """
    if not (location or "").startswith("s3:"):
        return
    import boto3
    import botocore.session
    from botocore.config import Config

    session = botocore.session.get_session()
    config = Config(connect_timeout=REQUEST_SECONDS, read_timeout=ANSWER_SECONDS)
    # A person may have asked for more.
    if not {"AWS_MAX_ATTEMPTS", "AWS_RETRY_MODE"} & os.environ.keys():
        config = config.merge(Config(retries={"total_max_attempts": ATTEMPTS}))
    session.set_default_client_config(config)
    boto3.setup_default_session(botocore_session=session)


def bucket_reason(error: BaseException) -> str | None:
    """What is wrong with a bucket, and what to do; None where an error is not about one."""
    for each in _chain(error):
        if isinstance(each, ModuleNotFoundError) and each.name in ("boto3", "botocore"):
            return "its artifacts are in a bucket, and boto3 is not installed; run: make setup EXTRAS=s3"
        if not type(each).__module__.startswith("botocore."):
            continue
        response = getattr(each, "response", None) or {}
        code = response.get("Error", {}).get("Code") or type(each).__name__
        if code in _REASONS:
            url = str(getattr(each, "kwargs", {}).get("endpoint_url", ""))
            return _REASONS[code].format(url="/".join(url.split("/")[:3]))
    return None


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error:
        yield error
        error = error.__cause__ or error.__context__
