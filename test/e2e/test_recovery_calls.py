# SPDX-License-Identifier: BSD-3-Clause
"""A recovery, and what the application has set, calls or is told while it goes on."""
from console import Console
from hv import Host, until
from test_link import EVENT, link
from test_recovery import corrupt, recovered


def test_mac_address(run):
    """The host has the address that the application has set, not only ethdev."""
    host = run(Host, nics=["mac=F2:15:5D:AA:BB:CC,mac-change=allow,port=sink"])
    app = run(Console, host)
    app.do("mac_addr set 0 02:15:5D:00:00:99")
    for times in (1, 2):
        corrupt(host, app)
        recovered(app, times)
        assert host.stats()["nics"][0]["mac"].upper() == "02:15:5D:00:00:99"
    assert app.info()["MAC address"] == "02:15:5D:00:00:99"
    assert "spoofing" not in app.text
    app.quit()
    host.kill()


def test_link_of_next_session(run):
    """That it is another one than before raises the event, as no message tells of it."""
    host = run(Host, nics=["port=sink"])
    app = run(Console, host)
    host.command("link", nic=0, state="down")
    until(lambda: app.text.count(EVENT) == 1, "link state event")
    assert link(app)[0] == "down"
    host.command("link", nic=0, state="up")
    host.command("link", nic=0, state="down")
    until(lambda: app.text.count(EVENT) == 3, "link state events")
    corrupt(host, app)
    recovered(app)
    state = link(app)[0]
    assert app.text.count(EVENT) == (4 if state == "up" else 3), state
    app.quit()
    host.kill()
