"""A kernel's subshell hands widgets' messages to the main thread."""

from jupyter_client.manager import start_new_kernel

MADE = """
import asyncio, threading
import ipywidgets
from nextpyp_nb.views.main_thread import hear_on_main_thread

if {mended}:
    hear_on_main_thread()
    hear_on_main_thread()
button = ipywidgets.Button()
heard = []
button.on_click(lambda _: heard.append(threading.current_thread() is threading.main_thread()))
# The kernel would send an answer to where the widget was sent from.
button.comm._reply_subshell_for = lambda data, default: default
print(button.model_id)
"""

WAITED = "for _ in range(600):\n    if heard: break\n    await asyncio.sleep(0.05)\nprint(heard)"


def _said(client, code):
    lines = []

    def note(message):
        if message["msg_type"] == "stream":
            lines.append(message["content"]["text"])

    reply = client.execute_interactive(code, output_hook=note, timeout=60)
    assert reply["content"]["status"] == "ok", reply["content"]
    return "".join(lines).strip()


def _clicked(mended):
    """Whether a click that comes in a subshell was heard on the main thread."""
    manager, client = start_new_kernel(kernel_name="python3")
    try:
        comm = _said(client, MADE.format(mended=mended))
        client.control_channel.send(client.session.msg("create_subshell_request"))
        subshell = client.get_control_msg(timeout=60)["content"]["subshell_id"]
        click = {"method": "custom", "content": {"event": "click"}}
        message = client.session.msg("comm_msg", {"comm_id": comm, "data": click})
        message["header"]["subshell_id"] = subshell
        client.shell_channel.send(message)
        # The main thread is free to hear it while this waits.
        return _said(client, WAITED)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def test_a_message_to_a_subshell_is_heard_on_the_main_thread():
    assert _clicked(mended=False) == "[False]"
    assert _clicked(mended=True) == "[True]"
