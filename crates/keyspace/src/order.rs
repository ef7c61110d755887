//! An ordered sequence with ranks: a B+ tree whose branches count what is below them.
//!
//! It does not know how elements compare: whoever asks brings a predicate that is true for a
//! leading part of the sequence and false for the rest.

const LEAF_MAX: usize = 64;
const BRANCH_MAX: usize = 64;

enum Node<E> {
    Leaf(Vec<E>),
    Branch(Branch<E>),
}

/// Three rows of one length, so that a search reads nothing but what it compares.
struct Branch<E> {
    /// The first element below each child.
    firsts: Vec<E>,
    /// How many elements are below each child.
    counts: Vec<usize>,
    nodes: Vec<Node<E>>,
}

/// An ordered sequence of small elements.
pub struct Order<E> {
    root: Node<E>,
    len: usize,
}

impl<E> Default for Order<E> {
    fn default() -> Self {
        Self { root: Node::Leaf(Vec::new()), len: 0 }
    }
}

impl<E: Copy> Branch<E> {
    fn of(nodes: [Node<E>; 2]) -> Self {
        let mut branch = Self { firsts: Vec::new(), counts: Vec::new(), nodes: Vec::new() };
        nodes.into_iter().for_each(|node| branch.put(branch.nodes.len(), node));
        branch
    }

    fn put(&mut self, at: usize, node: Node<E>) {
        self.firsts.insert(at, node.first().expect("a split leaves no side empty"));
        self.counts.insert(at, node.count());
        self.nodes.insert(at, node);
    }

    fn take(&mut self, at: usize) -> Node<E> {
        self.firsts.remove(at);
        self.counts.remove(at);
        self.nodes.remove(at)
    }

    fn split_off(&mut self, at: usize) -> Self {
        Self {
            firsts: self.firsts.split_off(at),
            counts: self.counts.split_off(at),
            nodes: self.nodes.split_off(at),
        }
    }

    /// The child in which the leading part for which `before` holds ends.
    fn child(&self, before: &impl Fn(&E) -> bool) -> usize {
        self.firsts.partition_point(before).saturating_sub(1)
    }

    fn remove(&mut self, before: &impl Fn(&E) -> bool) -> Option<E> {
        let mut at = self.child(before);
        let mut removed = self.nodes[at].remove(before);
        if removed.is_none() && at + 1 < self.nodes.len() {
            // It is the very first of the next one.
            at += 1;
            removed = self.nodes[at].remove(before);
        }
        removed?;
        self.counts[at] -= 1;
        match self.nodes[at].first() {
            None => drop(self.take(at)),
            Some(first) => {
                self.firsts[at] = first;
                self.merge(at);
            }
        }
        removed
    }

    /// Joins a thin child with its neighbour if both fit well into one.
    fn merge(&mut self, at: usize) {
        let max = match self.nodes[at] {
            Node::Leaf(_) => LEAF_MAX,
            Node::Branch(_) => BRANCH_MAX,
        };
        if self.nodes[at].width() >= max / 4 || self.nodes.len() < 2 {
            return;
        }
        let left = if at + 1 < self.nodes.len() { at } else { at - 1 };
        if self.nodes[left].width() + self.nodes[left + 1].width() > max * 3 / 4 {
            return;
        }
        self.counts[left] += self.counts[left + 1];
        let right = self.take(left + 1);
        match (&mut self.nodes[left], right) {
            (Node::Leaf(items), Node::Leaf(more)) => items.extend(more),
            (Node::Branch(below), Node::Branch(more)) => {
                below.firsts.extend(more.firsts);
                below.counts.extend(more.counts);
                below.nodes.extend(more.nodes);
            }
            _ => unreachable!("all leaves are at the same depth"),
        }
    }
}

impl<E: Copy> Node<E> {
    fn first(&self) -> Option<E> {
        match self {
            Node::Leaf(items) => items.first().copied(),
            Node::Branch(branch) => branch.firsts.first().copied(),
        }
    }

    fn count(&self) -> usize {
        match self {
            Node::Leaf(items) => items.len(),
            Node::Branch(branch) => branch.counts.iter().sum(),
        }
    }

    fn width(&self) -> usize {
        match self {
            Node::Leaf(items) => items.len(),
            Node::Branch(branch) => branch.nodes.len(),
        }
    }

    /// Inserts behind the leading part for which `before` holds; gives the right half of a split.
    fn insert(&mut self, element: E, before: &impl Fn(&E) -> bool) -> Option<Node<E>> {
        match self {
            Node::Leaf(items) => {
                let at = items.partition_point(before);
                items.insert(at, element);
                (items.len() > LEAF_MAX).then(|| {
                    // A sequence that grows at its end leaves full leaves behind.
                    let cut = if at == LEAF_MAX { LEAF_MAX } else { LEAF_MAX / 2 };
                    Node::Leaf(items.split_off(cut))
                })
            }
            Node::Branch(branch) => {
                let at = branch.child(before);
                let split = branch.nodes[at].insert(element, before);
                branch.counts[at] += 1;
                branch.firsts[at] = branch.nodes[at].first().expect("something was inserted");
                if let Some(right) = split {
                    branch.counts[at] -= right.count();
                    branch.put(at + 1, right);
                }
                (branch.nodes.len() > BRANCH_MAX)
                    .then(|| Node::Branch(branch.split_off(BRANCH_MAX / 2)))
            }
        }
    }

    /// Removes the first element for which `before` does not hold.
    fn remove(&mut self, before: &impl Fn(&E) -> bool) -> Option<E> {
        match self {
            Node::Leaf(items) => {
                let at = items.partition_point(before);
                (at < items.len()).then(|| items.remove(at))
            }
            Node::Branch(branch) => branch.remove(before),
        }
    }

    fn for_each(&self, mut start: usize, left: &mut usize, visit: &mut impl FnMut(E)) {
        match self {
            Node::Leaf(items) => {
                for item in items.iter().skip(start).take(*left) {
                    visit(*item);
                    *left -= 1;
                }
            }
            Node::Branch(branch) => {
                for (node, count) in branch.nodes.iter().zip(&branch.counts) {
                    if *left == 0 {
                        return;
                    }
                    if start >= *count {
                        start -= count;
                        continue;
                    }
                    node.for_each(start, left, visit);
                    start = 0;
                }
            }
        }
    }

    fn for_each_back(&self, mut skip: usize, left: &mut usize, visit: &mut impl FnMut(E)) {
        match self {
            Node::Leaf(items) => {
                for item in items.iter().rev().skip(skip).take(*left) {
                    visit(*item);
                    *left -= 1;
                }
            }
            Node::Branch(branch) => {
                for (node, count) in branch.nodes.iter().zip(&branch.counts).rev() {
                    if *left == 0 {
                        return;
                    }
                    if skip >= *count {
                        skip -= count;
                        continue;
                    }
                    node.for_each_back(skip, left, visit);
                    skip = 0;
                }
            }
        }
    }
}

impl<E: Copy> Order<E> {
    /// How many elements there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// The room it takes: nodes are between half and wholly full.
    pub fn memory_bytes(&self) -> usize {
        self.len * size_of::<E>() * 3 / 2
    }

    /// Inserts `element` behind the leading part for which `before` holds.
    pub fn insert(&mut self, element: E, before: impl Fn(&E) -> bool) {
        self.len += 1;
        if let Some(right) = self.root.insert(element, &before) {
            let left = std::mem::replace(&mut self.root, Node::Leaf(Vec::new()));
            self.root = Node::Branch(Branch::of([left, right]));
        }
    }

    /// Removes and gives the first element for which `before` does not hold.
    pub fn remove(&mut self, before: impl Fn(&E) -> bool) -> Option<E> {
        let removed = self.root.remove(&before)?;
        self.len -= 1;
        loop {
            match &mut self.root {
                Node::Branch(branch) if branch.nodes.is_empty() => {
                    self.root = Node::Leaf(Vec::new());
                }
                Node::Branch(branch) if branch.nodes.len() == 1 => {
                    self.root = branch.take(0);
                }
                _ => return Some(removed),
            }
        }
    }

    /// How many elements the leading part for which `before` holds has.
    pub fn rank(&self, before: impl Fn(&E) -> bool) -> usize {
        let mut node = &self.root;
        let mut rank = 0;
        loop {
            match node {
                Node::Leaf(items) => return rank + items.partition_point(&before),
                Node::Branch(branch) => {
                    let at = branch.child(&before);
                    rank += branch.counts[..at].iter().sum::<usize>();
                    node = &branch.nodes[at];
                }
            }
        }
    }

    /// Visits `count` elements from rank `start` on.
    pub fn for_each(&self, start: usize, count: usize, mut visit: impl FnMut(E)) {
        let mut left = count;
        self.root.for_each(start, &mut left, &mut visit);
    }

    /// Visits `count` elements backwards, beginning `skip` before the end.
    pub fn for_each_back(&self, skip: usize, count: usize, mut visit: impl FnMut(E)) {
        let mut left = count;
        self.root.for_each_back(skip, &mut left, &mut visit);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_changes_keep_order_and_ranks() {
        let mut order = Order::<u32>::default();
        let mut model: Vec<u32> = Vec::new();
        let mut dice = 9_u64;
        for step in 0..30_000_u32 {
            dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_041);
            let value = (dice >> 40) as u32 % 5000;
            let at = model.partition_point(|v| *v < value);
            let growing = step % 10_000 < 6000;
            if (dice >> 33) % 10 < if growing { 7 } else { 2 } {
                order.insert(value, |v| *v < value);
                model.insert(at, value);
            } else {
                let want = (at < model.len()).then(|| model.remove(at));
                assert_eq!(order.remove(|v| *v < value), want);
            }
            assert_eq!(order.len(), model.len());
            if step % 1000 == 0 {
                assert_eq!(order.rank(|v| *v < value), model.partition_point(|v| *v < value));
                let (start, mut seen) = (model.len() / 4, Vec::new());
                order.for_each(start, 500, |v| seen.push(v));
                assert_eq!(seen, model[start..model.len().min(start + 500)]);
                seen.clear();
                order.for_each_back(start, 500, |v| seen.push(v));
                let back: Vec<_> = model.iter().rev().skip(start).take(500).copied().collect();
                assert_eq!(seen, back);
            }
        }
    }

    #[test]
    fn what_grows_at_its_end_stays_in_order() {
        let mut order = Order::<u32>::default();
        (0..10_000).for_each(|n| order.insert(n, |v| *v < n));
        let mut seen = Vec::new();
        order.for_each(0, 20_000, |v| seen.push(v));
        assert!(seen.into_iter().eq(0..10_000));
    }
}
