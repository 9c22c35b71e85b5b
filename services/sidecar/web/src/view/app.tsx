// Which page is shown: the sign-in, or the board of whoever is signed in.

import { useEffect, useState } from "preact/hooks";

import type { Session } from "../contract.ts";
import { keepToken, readSession, storedToken, takeTokenFromFragment } from "../session.ts";
import { language, speak, strings } from "../strings/index.ts";
import { LANGUAGE_CHOSEN } from "./choices.tsx";
import { SignedIn } from "./signed-in.tsx";
import { SignIn } from "./signin.tsx";

const RETRY_MS = 2000;

/** Draws the whole page anew in another language, once that is loaded. */
function useLanguage(): string {
  const [drawn, setDrawn] = useState(language);
  useEffect(() => {
    const chosen = (event: Event) => {
      void speak((event as CustomEvent<string>).detail).then(() => setDrawn(language));
    };
    addEventListener(LANGUAGE_CHOSEN, chosen);
    return () => removeEventListener(LANGUAGE_CHOSEN, chosen);
  }, []);
  return drawn;
}

const whyRefused = (status: number): string => (status === 403 ? strings.wrongWorkspace : strings.sessionEnded);

export function App() {
  const spoken = useLanguage();
  // An object each time: the same token given again is asked again.
  const [given, setGiven] = useState({ token: storedToken(), isFresh: false });
  const [session, setSession] = useState<Session | null>(null);
  const [notice, setNotice] = useState("");

  const leave = (why: string) => {
    keepToken(null);
    setSession(null);
    setGiven({ token: null, isFresh: false });
    setNotice(why);
  };

  // A link with a token may be opened in this very tab.
  useEffect(() => {
    const moved = () => {
      const token = takeTokenFromFragment();
      if (token === null) return;
      setNotice("");
      setSession(null);
      setGiven({ token, isFresh: false });
    };
    addEventListener("hashchange", moved);
    return () => removeEventListener("hashchange", moved);
  }, []);

  useEffect(() => {
    const { token } = given;
    if (token === null) return;
    let isOver = false;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const ask = () => {
      readSession(token).then(
        (found) => {
          if (isOver) return;
          if ("refused" in found) leave(whyRefused(found.refused));
          else setSession(found);
        },
        () => {
          if (!isOver) timer = setTimeout(ask, RETRY_MS);
        },
      );
    };
    ask();
    return () => {
      isOver = true;
      clearTimeout(timer);
    };
  }, [given]);

  if (given.token === null) {
    return (
      <SignIn
        key={spoken}
        notice={notice}
        signedIn={(token) => {
          setNotice("");
          setGiven({ token, isFresh: true });
        }}
      />
    );
  }
  if (session === null) {
    return (
      <p class="loading" role="status">
        {strings.connecting}
      </p>
    );
  }
  const refused = (status: number) => leave(whyRefused(status));
  return <SignedIn key={spoken} session={session} refused={refused} signOut={() => leave("")} isFresh={given.isFresh} />;
}
