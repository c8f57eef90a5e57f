// The buttons and menus beside the log: time, copy, download, full screen, the sheet of keys.
import { fieldValue, millisecondsOf, stampOf } from "cube/logs/stamps";

const QUICK_MINUTES = { "5m": 5, "1h": 60 };

export function listen(view) {
  const { part } = view;
  const on = (role, act) => part[role]?.addEventListener("click", act);
  on("follow", () => view.toggleFollow());
  on("wrap", () => view.setWrap(!view.list.wrapped));
  on("times", () => view.nextTimes());
  on("error", () => view.firstError());
  on("collapse", () => view.toggleCollapse());
  on("full", () => view.toggleFull());
  on("copyplain", () => view.copy());
  on("copystamps", () => view.copy({ withStamps: true }));
  on("keys", () => part.help.showModal());
  on("nohelp", () => part.help.close());
  on("pill", () => view.toTail());
  on("noticeact", () => view.feed.latest());
  on("pickcopy", () => view.copy());
  on("picklink", () => view.copyLink());
  on("picknone", () => view.picks.clear());
  listenToJump(view);
  listenToDownload(view);
  document.addEventListener("fullscreenchange", () => view.drawFull());
}

function listenToJump(view) {
  const { jump, jumpform } = view.part;
  jump.addEventListener("toggle", () => {
    if (!jump.open) return;
    jumpform.elements.at.value = fieldValue(millisecondsOf(view.list.topLine?.t) || Date.now());
    jumpform.elements.at.focus();
  });
  jumpform.addEventListener("submit", (event) => {
    event.preventDefault();
    const time = stampOf(jumpform.elements.at.value);
    if (!time) return;
    jump.open = false;
    view.toTime(time);
  });
  jumpform.addEventListener("click", ({ target }) => {
    const quick = target.closest("[data-quick]")?.dataset.quick;
    if (!quick) return;
    jump.open = false;
    if (quick === "start") view.toHead();
    else if (quick === "end") view.toTail();
    else view.toTime(stampOf(new Date(view.lastTime - QUICK_MINUTES[quick] * 60_000)));
  });
}

/** The links of the menu; one more downloads only what the filter shows. */
function listenToDownload(view) {
  const { downloads, matching } = view.part;
  downloads?.addEventListener("toggle", () => {
    const query = view.filterbar.query(view.pods.filter);
    matching.closest("li").hidden = !query.size;
    matching.href = `${matching.dataset.href}&${query}`;
  });
}
