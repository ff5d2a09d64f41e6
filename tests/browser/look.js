// What is wrong with the sizes and places of what a page shows: sentences. Evaluated in the page.
() => {
  const SMALLEST = 16, LEAST_SCROLL = 180, INSIDE = 1;
  const found = [];
  const seen = (element) => element.checkVisibility({ checkOpacity: true, checkVisibilityCSS: true }) && element.getClientRects().length > 0;
  const name = (element) => {
    const said = (element.getAttribute("aria-label") || element.textContent || element.value || element.placeholder || "").trim().slice(0, 40);
    return `${element.tagName.toLowerCase()}${element.id ? `#${element.id}` : ""}.${[...element.classList].slice(0, 2).join(".")} “${said}”`;
  };
  const page = document.scrollingElement;
  if (page.scrollWidth > innerWidth + INSIDE) found.push(`the page is ${page.scrollWidth} px wide in a window of ${innerWidth}`);

  const controls = [...document.querySelectorAll("button, a[href], input, textarea, select, [role=tab], audio[controls]")].filter((element) =>
    seen(element) && element.type !== "hidden" && !element.closest("[aria-hidden=true]") && Number(getComputedStyle(element).opacity) > 0);
  const scrolls = (style) => /auto|scroll/.test(style);
  for (const element of controls) {
    const box = element.getBoundingClientRect();
    const hidden = element.matches("input[type=radio], input[type=checkbox], input[type=range], input[role=listbox]");  // their labels are what is pressed
    if (!hidden && (box.width < SMALLEST || box.height < SMALLEST)) found.push(`${name(element)} is only ${box.width.toFixed()} × ${box.height.toFixed()} px`);
    if (box.left < -INSIDE || box.right > innerWidth + INSIDE) found.push(`${name(element)} lies outside of the window`);
    for (let up = element.parentElement; up && up !== document.body; up = up.parentElement) {
      const style = getComputedStyle(up), around = up.getBoundingClientRect();
      const cutX = style.overflowX !== "visible" && !scrolls(style.overflowX) && (box.right > around.right + INSIDE || box.left < around.left - INSIDE);
      const cutY = style.overflowY !== "visible" && !scrolls(style.overflowY) && (box.bottom > around.bottom + INSIDE || box.top < around.top - INSIDE);
      if (cutX || cutY) { found.push(`${name(element)} is cut by ${name(up).slice(0, 60)}`); break; }
      if (scrolls(style.overflowY) || style.position === "fixed") break;
    }
  }

  // What says something is not cut off: chosen values and what stands on buttons.
  for (const element of controls) {
    const style = getComputedStyle(element);
    if (element.matches("input[type=number], input[role=listbox]") && element.value && document.activeElement !== element
      && element.scrollWidth > element.clientWidth + INSIDE) found.push(`${name(element)}: “${element.value}” is cut off`);
    if (element.matches("button:not([role=tab]), a") && element.scrollWidth > element.clientWidth + INSIDE && style.overflowX !== "visible") found.push(`${name(element)} is cut off`);
  }

  // Boxes that scroll have room for what is in them.
  for (const element of document.querySelectorAll("main *, .gradio-container *")) {
    if (!seen(element) || element.matches("textarea, iframe, dialog *")) continue;
    const style = getComputedStyle(element);
    if (scrolls(style.overflowY) && element.scrollHeight > element.clientHeight + INSIDE && element.clientHeight < LEAST_SCROLL) {
      found.push(`${name(element)} scrolls ${element.scrollHeight} px in ${element.clientHeight}`);
    }
  }

  // Nothing lies on top of a control: what is pressed in its middle is the control.
  const places = new Map([...document.querySelectorAll("*")].filter((element) => element.scrollTop).map((element) => [element, element.scrollTop]));
  for (const element of controls) {
    element.scrollIntoView({ block: "center", inline: "nearest", behavior: "instant" });
    const box = element.getBoundingClientRect();
    const there = document.elementFromPoint(box.left + box.width / 2, box.top + box.height / 2);
    const mine = there && (element.contains(there) || there.contains(element) || [...(element.labels ?? [])].some((label) => label.contains(there) || there.contains(label))
      || there.closest("label")?.contains(element));
    if (!mine) found.push(`${name(element)} is covered by ${there ? name(there) : "nothing that can be seen"}`);
  }
  for (const element of document.querySelectorAll("*")) if (element.scrollTop) element.scrollTop = places.get(element) ?? 0;
  scrollTo(0, 0);
  return [...new Set(found)];
}
