// State that is asked for again and again while the page is visible.

import { useCallback, useEffect, useRef, useState } from "./vendor/htm-preact.js";

/**
 * Calls `load` at once and every `intervalMs` after its end; a hidden page asks nothing.
 * Returns { value, error, refresh }; after an error the last value stays.
 */
export function usePolled(load, intervalMs) {
  const [state, setState] = useState({ value: undefined, error: null });
  const latest = useRef(load);
  latest.current = load;
  const asked = useRef(0);
  const shown = useRef(0);
  const refresh = useCallback(async () => {
    const number = ++asked.current;
    // An answer that a newer one has overtaken is older than what is shown.
    const show = (change) => {
      if (number < shown.current) return;
      shown.current = number;
      setState(change);
    };
    try {
      const value = await latest.current();
      show({ value, error: null });
    } catch (error) {
      show((before) => ({ ...before, error }));
    }
  }, []);
  useEffect(() => {
    let timer;
    let isEnded = false;
    const go = async () => {
      if (!document.hidden) await refresh();
      if (!isEnded) timer = setTimeout(go, intervalMs);
    };
    go();
    return () => {
      isEnded = true;
      clearTimeout(timer);
    };
  }, [intervalMs, refresh]);
  return { ...state, refresh };
}
