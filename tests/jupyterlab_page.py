"""A notebook in JupyterLab's page: what tests do there as a person does."""

from playwright.sync_api import Locator, Page, expect


def wait_for_kernel(page: Page) -> None:
    """Until the notebook that is shown has a kernel that waits for work. Its indicator says so from the first moment,
    the status bar only once the kernel is connected."""
    ready = page.locator(".jp-Notebook-ExecutionIndicator:visible")
    expect(ready).to_have_attribute("data-status", "idle", timeout=90_000)
    expect(page.locator("#jp-main-statusbar")).to_contain_text("| Idle", timeout=90_000)


def run_cell(page: Page, cell: Locator) -> None:
    """Ctrl+Enter in a code cell that has not run; returns when the kernel has it.

    JupyterLab may take the focus away while it still loads: then, as a person would, look and press again.
    """
    wait_for_kernel(page)
    prompt = cell.locator(".jp-InputPrompt")
    for patience in (15_000, 60_000):
        cell.locator(".cm-content").click()
        page.keyboard.press("Control+Enter")
        try:
            expect(prompt).not_to_have_text("[ ]:", timeout=patience)
        except AssertionError:
            continue
        return
    raise AssertionError("the cell did not run")
