//! One page of a list. A page is in memory as a whole, so its size in octets is bounded: an object may have more than a
//! megabyte, and whoever may create objects decides how many have.

use futures::{AsyncReadExt as _, TryFutureExt as _};
use kube::{
    Client,
    api::{ListParams, ObjectList, Request},
};
use serde::de::DeserializeOwned;

/// The most objects that a page has. Small pages cost the API server time.
const OBJECTS: u32 = 250;

/// The most octets of JSON that a page with several objects may have.
const OCTETS: usize = 4 << 20;

/// How many objects to ask for, so that the page is not [too long](Page::TooLong).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PageSize {
    objects: u32,
    /// Octets that such a page is expected to have.
    octets: usize,
}

/// Outcome of asking for a page.
pub(super) enum Page<K: Clone> {
    Read {
        list: ObjectList<K>,
        /// Octets of its JSON.
        octets: usize,
    },
    /// The page has more octets than a page may have. It was not read to its end.
    TooLong,
}

impl Default for PageSize {
    fn default() -> Self {
        Self {
            objects: OBJECTS,
            octets: 0,
        }
    }
}

impl PageSize {
    /// Returns the size that fills half a page if the objects are as long as those of the last page, which had this many.
    pub(super) fn after(objects: usize, octets: usize) -> Self {
        let each = octets / objects.max(1);
        let fit = (OCTETS / 2).checked_div(each).unwrap_or(usize::MAX);
        let objects = u32::try_from(fit).unwrap_or(OBJECTS).clamp(1, OBJECTS);
        Self { objects, octets }
    }

    /// Returns half the size.
    pub(super) fn smaller(self) -> Self {
        Self {
            objects: (self.objects / 2).max(1),
            octets: 0,
        }
    }

    /// Returns the number of objects to ask for.
    pub(super) const fn objects(self) -> u32 {
        self.objects
    }

    /// Returns the most octets to read. A single object is always read: the API server bounds it.
    const fn most_octets(self) -> usize {
        match self.objects {
            1 => usize::MAX,
            _ => OCTETS,
        }
    }
}

/// Requests a page. `params` asks for as many objects as `size` has.
///
/// # Errors
/// If the API server does not answer, refuses, or sends something else than a list.
pub(super) async fn page<K: Clone + DeserializeOwned>(
    client: Client,
    path: String,
    params: ListParams,
    size: PageSize,
) -> kube::Result<Page<K>> {
    let request = Request::new(path).list(&params);
    let request = request.map_err(kube::Error::BuildRequest)?;
    let most = size.most_octets();
    let answer = client.request_stream(request).await?;
    let mut body = Vec::with_capacity(size.octets);
    let limit = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
    answer
        .take(limit)
        .read_to_end(&mut body)
        .map_err(kube::Error::ReadEvents)
        .await?;
    if body.len() > most {
        return Ok(Page::TooLong);
    }
    let list = serde_json::from_slice(&body).map_err(kube::Error::SerdeError)?;
    Ok(Page::Read {
        list,
        octets: body.len(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_has_half_of_the_octets_that_fit_and_never_none_or_too_many_objects() {
        for (objects, octets, next) in [
            (0, 100, 250),
            (250, 250 * 2000, 250),
            (250, 250 * 10_000, 209),
            (62, 62 * 65_536, 32),
            (2, OCTETS, 1),
            (1, 100 * OCTETS, 1),
        ] {
            assert_eq!(PageSize::after(objects, octets).objects(), next);
        }
    }

    #[test]
    fn a_page_that_is_too_long_is_halved_until_it_has_one_object_of_any_length() {
        let mut size = PageSize::default();
        let mut sizes = Vec::new();
        while size.most_octets() == OCTETS {
            sizes.push(size.objects());
            size = size.smaller();
        }
        assert_eq!(sizes, [250, 125, 62, 31, 15, 7, 3]);
        assert_eq!(size.smaller(), size);
    }
}
