"""The same on an S3-compatible object store. Needs the `boto3` of requirements.txt; imported only when it is chosen."""

from botocore.exceptions import ClientError
from storages.backends.s3 import S3Storage


class LogS3Storage(S3Storage):
    """Reads ranges as ranges: `open` would fetch a whole object for one frame."""

    def read_range(self, name: str, offset: int, size: int) -> bytes:
        key = self._normalize_name(name)
        try:
            answer = self.bucket.Object(key).get(Range=f"bytes={offset}-{offset + size - 1}")
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] == 404:
                raise FileNotFoundError(name) from error
            raise OSError(f"the object store refused {name}: {error}") from error
        return bytes(answer["Body"].read())
