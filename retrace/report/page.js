// All that the page of a result does by itself: values of a chart under the pointer or by keys, and tables that sort.
"use strict";

for (const plot of document.querySelectorAll(".plot")) {
  const marks = [...plot.querySelectorAll("[data-tip]")];
  const figure = plot.closest("figure"), tip = figure.querySelector(".tip");
  let at = -1;

  function show(index) {
    if (index === at) return;
    marks[at]?.classList.remove("on");
    marks[index]?.classList.add("on");
    at = index;
    tip.hidden = index < 0;
    if (index < 0) return;
    tip.textContent = marks[index].dataset.tip;
    const anchor = marks[index].querySelector(".dot, path") ?? marks[index];
    const frame = figure.getBoundingClientRect(), mark = anchor.getBoundingClientRect();
    const middle = mark.left + mark.width / 2 - frame.left - tip.offsetWidth / 2;
    const above = Math.max(mark.top, plot.getBoundingClientRect().top) - frame.top - tip.offsetHeight - 6;
    tip.style.left = `${Math.max(0, Math.min(middle, frame.width - tip.offsetWidth))}px`;
    tip.style.top = `${above}px`;
  }

  plot.addEventListener("pointermove", (event) => show(marks.indexOf(event.target.closest("[data-tip]"))));
  plot.addEventListener("pointerdown", (event) => show(marks.indexOf(event.target.closest("[data-tip]"))));
  plot.addEventListener("pointerleave", () => show(-1));
  plot.addEventListener("blur", () => show(-1));
  plot.addEventListener("keydown", (event) => {
    const last = marks.length - 1;
    const steps = { ArrowRight: at + 1, ArrowDown: at + 1, ArrowLeft: at - 1, ArrowUp: at - 1, Home: 0, End: last };
    if (event.key === "Escape") return show(-1);
    if (!(event.key in steps) || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    show(Math.max(0, Math.min(steps[event.key], last)));
  });
}

// `1,234`, `98.0%`, `+0.0064 (+0.0030 to +0.0100)`: what a cell begins with, if it is a number.
function leading(text) {
  const found = /^[+-]?[\d,]*\.?\d+(e[+-]?\d+)?(?=%?( |$))/i.exec(text);
  return found ? Number(found[0].replaceAll(",", "")) : NaN;
}

for (const table of document.querySelectorAll("table.sort")) {
  const heads = [...table.tHead.rows[0].cells], body = table.tBodies[0];
  heads.forEach((head, column) => {
    if (!head.textContent) return;
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const order = head.getAttribute("aria-sort") === "ascending" ? "descending" : "ascending";
      for (const each of heads) each.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", order);
      const rows = [...body.rows].map((row) => [row.cells[column].textContent.trim(), row]);
      const known = rows.filter(([text]) => text !== "-"), unknown = rows.filter(([text]) => text === "-");
      const numbers = known.every(([text]) => !Number.isNaN(leading(text)));
      known.sort(([one], [other]) => numbers ? leading(one) - leading(other) : one.localeCompare(other, "en"));
      if (order === "descending") known.reverse();
      body.append(...[...known, ...unknown].map(([, row]) => row));
    });
  });
}
