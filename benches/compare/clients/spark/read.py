"""read.py BOOTSTRAP TOPIC JARS: Spark as a batch job would use it to read a topic.

local[2]; a count and a sum of the values' lengths, the third time, when the JVM is warm. CPU and memory are the
Python process's and its JVM's. Prints one JSON line; bytes and requests on the wire are not told: both are 0.
"""

import json
import os
import resource
import sys
import time

from pyspark.sql import SparkSession
from pyspark.sql.functions import count, length, sum as total

WARM_RUNS = 2
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


def cpu(jvm):
    """User and system seconds of this process and the JVM."""
    own = resource.getrusage(resource.RUSAGE_SELF)
    with open(f"/proc/{jvm}/stat") as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    user, system = (int(fields[at]) / TICKS_PER_SECOND for at in (11, 12))
    return own.ru_utime + user, own.ru_stime + system


def peak_kib(jvm):
    with open(f"/proc/{jvm}/status") as status:
        of_jvm = next(int(line.split()[1]) for line in status if line.startswith("VmHWM:"))
    return of_jvm + resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def main():
    if len(sys.argv) != 4:
        sys.exit("usage: read.py BOOTSTRAP TOPIC JARS")
    bootstrap, topic, jars = sys.argv[1:]
    spark = (
        SparkSession.builder.master("local[2]")
        .appName("compare")
        .config("spark.jars", ",".join(os.path.join(jars, jar) for jar in sorted(os.listdir(jars))))
        .config("spark.driver.memory", "2g")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.ui.enabled", "false")
        .config("spark.log.level", "ERROR")
        .config("spark.ui.showConsoleProgress", "false")
        .getOrCreate()
    )
    jvm = spark.sparkContext._gateway.proc.pid

    def read():
        # A frame that was collected keeps what it shuffled and reads nothing the next time.
        frame = (
            spark.read.format("kafka")
            .option("kafka.bootstrap.servers", bootstrap)
            .option("subscribe", topic)
            .option("startingOffsets", "earliest")
            .option("endingOffsets", "latest")
            .option("kafka.max.partition.fetch.bytes", 4 << 20)
            .load()
        )
        return frame.agg(count("*"), total(length("value"))).collect()[0]

    for _ in range(WARM_RUNS):
        read()
    user, system = cpu(jvm)
    began = time.monotonic()
    records, value_bytes = read()
    wall = time.monotonic() - began
    user, system = (after - before for after, before in zip(cpu(jvm), (user, system)))
    print(
        json.dumps(
            {
                "client": "spark",
                "records": records,
                "value_bytes": value_bytes or 0,
                "wire_bytes": 0,
                "requests": 0,
                "wall_s": wall,
                "user_s": user,
                "system_s": system,
                "cpu_us_per_record": (user + system) * 1e6 / max(records, 1),
                "peak_rss_kib": peak_kib(jvm),
            }
        )
    )
    spark.stop()


if __name__ == "__main__":
    main()
