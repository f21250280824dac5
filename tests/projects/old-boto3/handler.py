import shutil
import subprocess
import sys
from multiprocessing import get_context

import boto3


def version_of_boto3_in_a_child(bucket):
    boto3.client("s3").put_object(Bucket=bucket, Key="from-a-child", Body=b"too")
    return boto3.__version__


class Handler:
    def __init__(self, config):
        self.s3 = boto3.client("s3", **config)
        self.s3.create_bucket(Bucket="old-boto3")

    def handle_async(self, payload):
        self.s3.put_object(Bucket="old-boto3", Key="key", Body=payload)
        with get_context("spawn").Pool(1) as pool:
            child = pool.apply(version_of_boto3_in_a_child, ("old-boto3",))
        listed = boto3.resource("s3").Bucket("old-boto3").objects.all()
        return {
            "versions": [boto3.__version__, child],
            "keys": sorted(item.key for item in listed),
            "python": shutil.which("python") == sys.executable,
            "tqdm": subprocess.check_output(["tqdm", "--version"], text=True).strip(),
            "imported": subprocess.call(["python", "-c", "import tqdm, handler"]) == 0,
        }
