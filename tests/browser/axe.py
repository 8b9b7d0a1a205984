"""What axe-core finds wrong for people with a screen reader or weak eyes (WCAG 2.1 AA)."""

from importlib.resources import files

AXE = files("axe_playwright_python") / "axe.min.js"
# Voilà and JupyterLab lay out the landmarks of a page.
RUN = """async where => {
  const told = await axe.run(where, {rules: {region: {enabled: false}}});
  const met = rule => told.passes.some(pass => pass.id === rule);
  if (!met("color-contrast") || !met("button-name")) throw Error("nothing was looked at in " + where);
  return told.violations.flatMap(wrong => wrong.nodes.map(
    node => `${wrong.id}: ${node.html.slice(0, 200)} ${node.any.map(why => why.message).join(" ")}`));
}"""


def problems(page, where):
    """Sentences on what is wrong below the selector ``where`` of a page."""
    if not page.evaluate("() => 'axe' in window"):
        page.evaluate(AXE.read_text())
    return page.evaluate(RUN, where)
