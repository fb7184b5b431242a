"""A person signs in, in a real browser."""

import contextlib

from tests.ui.browser import new_context, open_page
from tests.ui.page_server import PageServer

TOKEN = "correct horse battery staple"


def test_the_form_and_a_link_lead_to_the_page_and_leave_no_token_behind(browser):
    with contextlib.closing(PageServer(token=TOKEN)) as site, new_context(browser) as context:
        opened = open_page(context, site.url)
        opened.page.fill("input[type=password]", "wrong")
        opened.page.click("button")
        opened.page.wait_for_selector("text=Try again")
        opened.page.fill("input[type=password]", TOKEN)
        opened.page.click("button")
        opened.wait_status("Live")
        assert opened.page.url == site.url
        opened.page.goto("about:blank")
        opened.page.goto(f"{site.url}?token={TOKEN.replace(' ', '+')}")
        opened.wait_status("Live")
        assert opened.page.url == site.url
        opened.page.go_back()
        assert opened.page.url == "about:blank"
