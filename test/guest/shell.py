#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""A shell in a Linux guest whose host is hv-host. Leave with `poweroff -f`."""
import argparse
import os
import subprocess
import tempfile

import guest


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--kernel", choices=guest.image.SERIES, default="6.1")
    p.add_argument("--nic", action="append", help="of hv-host; may be repeated")
    p.add_argument("--cpus", type=int, default=2)
    p.add_argument("--memory", type=int, default=512, help="MB")
    args = p.parse_args()
    nics = args.nic or ["port=echo"]
    with tempfile.TemporaryDirectory() as tmp, \
            guest.Host(tmp, *(a for n in nics for a in ("--nic", n))) as host:
        try:
            cmd = guest.command(tmp, host, guest.image.kernel(args.kernel), args.cpus,
                                args.memory, append="guest.shell",
                                serial=("mon:stdio", "null"))
            os.environ.setdefault("TERM", "linux")
            subprocess.run(cmd, check=False)
        finally:
            print(host.tail())


if __name__ == "__main__":
    main()
