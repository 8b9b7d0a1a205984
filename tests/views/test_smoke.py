from nextpyp_nb.views.app import SessionPages


def test_pages(session, live):
    pages = SessionPages(session, live, lambda: None)
    for n in pages.tabs:
        pages.choose(n)
    assert live.banner.error is None, live.banner.message.value
